// Arrays of doubles in plain C++, for references that share nothing with the library under test.
#pragma once
#include <scangrad/core/tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

namespace reference {

using scangrad::Shape;

/// Row-major, dense. Masks are 0 and 1, indices whole numbers.
struct Array {
  Shape shape;
  std::vector<double> values;

  explicit Array(const Shape& shape = {}, double value = 0)
      : shape(shape), values(static_cast<std::size_t>(shape.numel()), value) {}

  std::int64_t numel() const { return shape.numel(); }
  double& operator[](std::int64_t i) { return values[static_cast<std::size_t>(i)]; }
  double operator[](std::int64_t i) const { return values[static_cast<std::size_t>(i)]; }
  /// Element at an index with one entry per dimension.
  double& at(const Shape& index) { return (*this)[position(index)]; }
  double at(const Shape& index) const { return (*this)[position(index)]; }

 private:
  std::int64_t position(const Shape& index) const {
    std::int64_t at = 0;
    for (int dim = 0; dim < shape.rank(); ++dim) at = at * shape[dim] + index[dim];
    return at;
  }
};

using Arrays = std::vector<Array>;
using Function = std::function<Arrays(const Arrays&)>;

/// Calls f(index) for every index of `shape`, the last dimension fastest.
template <class F>
void for_each_index(const Shape& shape, F&& f) {
  Shape index = Shape::filled(shape.rank(), 0);
  for (std::int64_t i = 0; i < shape.numel(); ++i) {
    std::int64_t rest = i;
    for (int dim = shape.rank() - 1; dim >= 0; --dim) {
      index[dim] = rest % shape[dim];
      rest /= shape[dim];
    }
    f(static_cast<const Shape&>(index));
  }
}

/// y_i = f(x_i).
Function map(const std::function<double(double)>& f);
/// y_i = f(a_i, b_i), broadcast as NumPy does.
Function map(const std::function<double(double, double)>& f);
/// y_i = f(a_i, b_i, c_i), broadcast.
Function map(const std::function<double(double, double, double)>& f);
/// One result per slice along the dimensions `dims` (none: all): f(values of the slice, row-major).
Function reduction(const std::vector<std::int64_t>& dims, bool keepdim,
                   const std::function<double(const std::vector<double>&)>& f);

/// The element of x that broadcasting puts at `index`.
double broadcast_at(const Array& x, const Shape& index);
/// The shape that arrays of these shapes broadcast to.
Shape broadcast_shape(const Arrays& xs);

}  // namespace reference
