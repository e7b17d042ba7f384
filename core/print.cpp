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
constexpr std::int64_t abridged = 1000;  // tensors of more elements than this are abridged

std::string element(double value, DType dtype) {
  if (dtype == DType::bool_) return value != 0 ? "true" : "false";
  if (!is_floating(dtype)) return fmt::format("{:.0f}", value);
  return fmt::format("{:.5g}", value);
}

struct Printer {
  const Shape& shape;
  const std::vector<std::string>& texts;
  std::size_t width;
  bool abridge;
  std::string out;

  void print(int dim, std::int64_t first) {
    if (dim == shape.rank()) {
      out += fmt::format("{:>{}}", texts[static_cast<std::size_t>(first)], width);
      return;
    }
    const std::int64_t size = shape[dim];
    const std::int64_t stride = contiguous_strides(shape)[dim];
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
      print(dim + 1, first + i * stride);
    }
    out += ']';
  }
};

}  // namespace

std::string to_string(const Tensor& tensor) {
  if (!tensor.defined()) return "undefined";
  std::vector<std::string> texts;
  std::size_t width = 0;
  for (double value : tensor.to_vector<double>()) {
    texts.push_back(element(value, tensor.dtype()));
    width = std::max(width, texts.back().size());
  }
  Printer printer{tensor.shape(), texts, width, tensor.numel() > abridged, {}};
  printer.print(0, 0);
  return fmt::format("{} {}{} {}", printer.out, tensor.dtype(), tensor.shape(), tensor.device());
}

std::ostream& operator<<(std::ostream& out, const Tensor& tensor) {
  return out << to_string(tensor);
}

}  // namespace scangrad
