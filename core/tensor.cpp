#include <scangrad/core/backend.h>
#include <scangrad/core/format.h>
#include <scangrad/core/tensor.h>

#include <algorithm>
#include <utility>

namespace scangrad {

Tensor::Tensor(std::shared_ptr<Storage> storage, Shape shape, Strides strides, std::int64_t offset,
               DType dtype)
    : impl_(std::make_shared<TensorImpl>(
          TensorImpl{std::move(storage), shape, strides, offset, dtype, {}})) {}

const TensorImpl& Tensor::checked() const {
  if (!impl_) throw ValueError("tensor: an undefined tensor was used");
  return *impl_;
}

const Shape& Tensor::shape() const { return checked().shape; }
const Strides& Tensor::strides() const { return checked().strides; }
DType Tensor::dtype() const { return checked().dtype; }
Device Tensor::device() const { return checked().storage->device(); }
const std::shared_ptr<Storage>& Tensor::storage() const { return checked().storage; }
std::int64_t Tensor::offset() const { return checked().offset; }

std::int64_t Tensor::size(std::int64_t dim) const {
  check<IndexError>(rank() > 0, "size: a scalar has no dimensions");
  return shape()[normalize_dim("size", dim, rank())];
}

bool Tensor::is_contiguous() const {
  std::int64_t expected = 1;
  for (int i = rank() - 1; i >= 0; --i) {
    if (shape()[i] != 1 && strides()[i] != expected) return numel() == 0;
    expected *= shape()[i];
  }
  return true;
}

void* Tensor::raw_data() const {
  const TensorImpl& t = checked();
  if (t.storage->data() == nullptr) return nullptr;
  return static_cast<std::byte*>(t.storage->data()) +
         static_cast<std::size_t>(t.offset) * size_of(t.dtype);
}

void Tensor::require_dtype(DType expected) const {
  check<DTypeError>(dtype() == expected, "data: the tensor is {}, not {}", dtype(), expected);
}

bool Tensor::requires_grad() const { return checked().autograd.requires_grad; }

Tensor& Tensor::requires_grad_(bool value) {
  check<DTypeError>(!value || is_floating(dtype()),
                    "requires_grad_: only floating-point tensors have gradients, not {}", dtype());
  check<GradError>(is_leaf(), "requires_grad_: only leaf tensors can be changed; use detach()");
  impl_->autograd.requires_grad = value;
  return *this;
}

bool Tensor::is_leaf() const { return checked().autograd.node == nullptr; }
Tensor Tensor::grad() const { return checked().autograd.grad; }

void Tensor::set_grad(const Tensor& grad) {
  check<ShapeError>(!grad.defined() || grad.shape() == shape(),
                    "set_grad: gradient {} does not have the tensor's shape {}",
                    grad.defined() ? grad.shape() : Shape{}, shape());
  check<DTypeError>(!grad.defined() || grad.dtype() == dtype(),
                    "set_grad: gradient is {}, but the tensor {}; use cast",
                    grad.defined() ? grad.dtype() : dtype(), dtype());
  impl_->autograd.grad = grad;
}

Tensor Tensor::detach() const { return as_strided(shape(), strides(), offset()); }

Tensor Tensor::as_strided(const Shape& shape, const Strides& strides, std::int64_t offset) const {
  return Tensor(storage(), shape, strides, offset, dtype());
}

AutogradSlot& Tensor::autograd() const {
  checked();
  return impl_->autograd;
}

double Tensor::item_as_double() const {
  check<ShapeError>(numel() == 1, "item: a tensor of shape {} is not a single value", shape());
  return to_vector<double>()[0];
}

std::int64_t Tensor::item_as_integer() const {
  check<ShapeError>(numel() == 1, "item: a tensor of shape {} is not a single value", shape());
  return to_vector<std::int64_t>()[0];
}

template <class T>
std::vector<T> Tensor::to_vector() const {
  const Tensor host = empty(shape(), {dtype_of<T>, Device::cpu()});
  raw_copy(host, *this);
  const T* first = host.data<T>();
  return std::vector<T>(first, first + host.numel());
}

Tensor empty(const Shape& shape, const TensorOptions& options) {
  check_shape("empty", shape);
  const std::size_t bytes = static_cast<std::size_t>(shape.numel()) * size_of(options.dtype);
  return Tensor(std::make_shared<Storage>(bytes, options.device), shape, contiguous_strides(shape),
                0, options.dtype);
}

Tensor empty_like(const Tensor& like) { return empty(like.shape(), like.options()); }

Tensor full(const Shape& shape, double value, const TensorOptions& options) {
  check<ValueError>(fits(options.dtype, value), "full: {} is no value of {}", value, options.dtype);
  Tensor out = empty(shape, options);
  backend(options.device).fill(out, value);
  return out;
}

Tensor zeros(const Shape& shape, const TensorOptions& options) { return full(shape, 0, options); }
Tensor ones(const Shape& shape, const TensorOptions& options) { return full(shape, 1, options); }
Tensor zeros_like(const Tensor& like) { return zeros(like.shape(), like.options()); }
Tensor ones_like(const Tensor& like) { return ones(like.shape(), like.options()); }

template <class T>
Tensor from(const std::vector<T>& values, const Shape& shape, Device device) {
  check<ShapeError>(shape.numel() == static_cast<std::int64_t>(values.size()),
                    "from: {} values do not fill shape {}", values.size(), shape);
  Tensor host = empty(shape, {dtype_of<T>, Device::cpu()});
  std::copy(values.begin(), values.end(), host.data<T>());
  if (device.is_cpu()) return host;
  Tensor out = empty(shape, {dtype_of<T>, device});
  raw_copy(out, host);
  return out;
}

#define SCANGRAD_INSTANTIATE(T)                         \
  template std::vector<T> Tensor::to_vector<T>() const; \
  template Tensor from(const std::vector<T>&, const Shape&, Device);
SCANGRAD_INSTANTIATE(bool)
SCANGRAD_INSTANTIATE(std::int32_t)
SCANGRAD_INSTANTIATE(std::int64_t)
SCANGRAD_INSTANTIATE(bfloat16)
SCANGRAD_INSTANTIATE(float)
SCANGRAD_INSTANTIATE(double)
#undef SCANGRAD_INSTANTIATE

}  // namespace scangrad
