// Tensor to text, as NumPy prints arrays.
#include <scangrad/core/format.h>
#include <scangrad/core/tensor.h>

#include <algorithm>
#include <cmath>
#include <ostream>
#include <vector>

namespace scangrad {
namespace {

constexpr std::int64_t edge = 3;         // entries shown at each end of an abridged dimension
constexpr std::int64_t abridged = 1000;  // tensors of more entries than this are abridged

std::string element(double value) { return fmt::format("{:.5g}", value); }
std::string element(std::int64_t value) { return fmt::format("{}", value); }
std::string element(bool value) { return value ? "true" : "false"; }

template <class T>
struct Printer {
  const Shape& shape;
  const std::vector<T>& values;
  bool abridge;
  std::size_t width = 0;
  std::string out = {};

  void print(int dim, std::size_t first) {
    if (dim == shape.rank()) {
      out += fmt::format("{:>{}}", element(values[first]), width);
      return;
    }
    const std::int64_t size = shape[dim];
    const auto stride = static_cast<std::size_t>(contiguous_strides(shape)[dim]);
    const bool innermost = dim + 1 == shape.rank();
    const std::string separator =
        innermost ? ", " : fmt::format(",{:\n>{}}{:{}}", "", shape.rank() - dim - 1, "", dim + 1);
    out += '[';
    for (std::int64_t i = 0; i < size; ++i) {
      if (i > 0) out += separator;
      if (abridge && size > 2 * edge && i == edge) {
        out += "...";
        i = size - edge - 1;
        continue;
      }
      print(dim + 1, first + static_cast<std::size_t>(i) * stride);
    }
    out += ']';
  }

  /// The width of the widest entry that is shown.
  void measure(int dim, std::size_t first) {
    if (dim == shape.rank()) {
      width = std::max(width, element(values[first]).size());
      return;
    }
    const auto stride = static_cast<std::size_t>(contiguous_strides(shape)[dim]);
    for (std::int64_t i = 0; i < shape[dim]; ++i) {
      if (abridge && shape[dim] > 2 * edge && i == edge) i = shape[dim] - edge;
      measure(dim + 1, first + static_cast<std::size_t>(i) * stride);
    }
  }
};

template <class T>
std::string print_as(const Tensor& tensor) {
  const std::vector<T> values = tensor.to_vector<T>();
  std::int64_t entries = 1;  // elements, or brackets around none
  for (std::int64_t size : tensor.shape()) entries *= std::max<std::int64_t>(size, 1);
  Printer<T> printer{tensor.shape(), values, entries > abridged};
  printer.measure(0, 0);
  printer.print(0, 0);
  return printer.out;
}

}  // namespace

std::string to_string(const Tensor& tensor) {
  if (!tensor.defined()) return "undefined";
  const std::string text = tensor.dtype() == DType::bool_ ? print_as<bool>(tensor)
                           : is_floating(tensor.dtype())  ? print_as<double>(tensor)
                                                          : print_as<std::int64_t>(tensor);
  return fmt::format("{} {}{} {}", text, tensor.dtype(), tensor.shape(), tensor.device());
}

std::ostream& operator<<(std::ostream& out, const Tensor& tensor) {
  return out << to_string(tensor);
}

}  // namespace scangrad
