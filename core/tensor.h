#pragma once
#include <scangrad/core/convert.h>
#include <scangrad/core/device.h>
#include <scangrad/core/dtype.h>
#include <scangrad/core/shape.h>
#include <scangrad/core/storage.h>

#include <iosfwd>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

namespace scangrad {

class Tensor;
using Tensors = std::vector<Tensor>;

/// Base of autograd's nodes: core only owns them, `autograd/node.h` says what they are.
class NodeBase {
 public:
  virtual ~NodeBase() = default;
};

/// Where and of what a new tensor is made. The order of members is frozen.
struct TensorOptions {
  DType dtype = DType::f32;
  Device device = {};
};

struct AutogradSlot;
struct TensorImpl;

/// An n-dimensional array: a cheap handle that views a Storage through shape and strides. Copies
/// of a handle are the same tensor (they share the gradient too); `detach` makes a new one on the
/// same memory. Operations are free functions in `ops/`; methods say only what a tensor *is*.
class Tensor {
 public:
  /// An undefined tensor: "none".
  Tensor() = default;
  /// A view of `storage`. Strides are in elements; nothing is checked. What views are made from.
  Tensor(std::shared_ptr<Storage> storage, Shape shape, Strides strides, std::int64_t offset,
         DType dtype);

  bool defined() const { return impl_ != nullptr; }
  const Shape& shape() const;
  const Strides& strides() const;
  /// Size of one dimension; a negative one counts from the end.
  std::int64_t size(std::int64_t dim) const;
  int rank() const { return shape().rank(); }
  std::int64_t numel() const { return shape().numel(); }
  DType dtype() const;
  Device device() const;
  /// dtype and device, to make another tensor alike.
  TensorOptions options() const { return {dtype(), device()}; }
  /// Dense and row-major.
  bool is_contiguous() const;

  /// First element, unchecked and uncounted; on a CUDA tensor this is a device address.
  void* raw_data() const;
  /// First element as T. Throws DTypeError unless T is the tensor's dtype.
  template <class T>
  T* data() const {
    require_dtype(dtype_of<T>);
    return static_cast<T*>(raw_data());
  }
  const std::shared_ptr<Storage>& storage() const;
  std::int64_t offset() const;

  /// The value of a one-element tensor, converted to T (core/convert.h). Synchronises with the
  /// device.
  template <class T>
  T item() const {
    if constexpr (std::is_integral_v<T>) {  // f64 has not all i64 values
      if (!is_floating(dtype())) return static_cast<T>(item_as_integer());
    }
    return convert<T>(item_as_double());
  }
  /// All elements in row-major order, converted to T.
  template <class T>
  std::vector<T> to_vector() const;

  bool requires_grad() const;
  /// Marks a leaf as one whose gradient `backward` computes. Floating-point tensors only.
  Tensor& requires_grad_(bool value = true);
  /// Neither computed by a recorded operation nor undefined.
  bool is_leaf() const;
  /// The gradient that `backward` left on this leaf; undefined if none yet.
  Tensor grad() const;
  void set_grad(const Tensor& grad);
  /// The same memory without history.
  Tensor detach() const;
  /// The same memory under another shape; no history. Views with gradients are in `ops/shape.h`.
  Tensor as_strided(const Shape& shape, const Strides& strides, std::int64_t offset) const;

  /// For autograd/ and ops/ only.
  AutogradSlot& autograd() const;
  TensorImpl* impl() const { return impl_.get(); }
  long use_count() const { return impl_.use_count(); }

 private:
  const TensorImpl& checked() const;
  void require_dtype(DType expected) const;
  double item_as_double() const;
  std::int64_t item_as_integer() const;

  std::shared_ptr<TensorImpl> impl_;
};

/// What autograd keeps on a tensor; only `autograd/` interprets it.
struct AutogradSlot {
  bool requires_grad = false;
  int output_index = 0;            // which output of `node` this tensor is
  Tensor grad;                     // leaves only
  std::shared_ptr<NodeBase> node;  // what computed this tensor; null for leaves
};

struct TensorImpl {
  std::shared_ptr<Storage> storage;
  Shape shape;
  Strides strides;
  std::int64_t offset = 0;
  DType dtype = DType::f32;
  AutogradSlot autograd;
};

/// Uninitialised memory.
Tensor empty(const Shape& shape, const TensorOptions& options = {});
/// Uninitialised, contiguous, with the shape, dtype and device of `like`.
Tensor empty_like(const Tensor& like);
/// Every element `value`. Throws ValueError where an integer dtype does not reach that far.
Tensor full(const Shape& shape, double value, const TensorOptions& options = {});
Tensor zeros(const Shape& shape, const TensorOptions& options = {});
Tensor ones(const Shape& shape, const TensorOptions& options = {});
Tensor zeros_like(const Tensor& like);
Tensor ones_like(const Tensor& like);

/// A tensor of T's dtype with these values, row-major. Throws ShapeError on a wrong count.
template <class T>
Tensor from(const std::vector<T>& values, const Shape& shape, Device device = {});
/// A vector.
template <class T>
Tensor from(const std::vector<T>& values) {
  return from<T>(values, {static_cast<std::int64_t>(values.size())});
}

/// NumPy-like text: nested brackets, long dimensions abridged, and what the tensor is.
std::string to_string(const Tensor& tensor);
std::ostream& operator<<(std::ostream& out, const Tensor& tensor);

}  // namespace scangrad
