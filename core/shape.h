#pragma once
#include <cstdint>
#include <initializer_list>
#include <string>

namespace scangrad {

/// The most dimensions a tensor may have; kernels keep shapes in arrays of this size.
inline constexpr int max_rank = 8;

/// Sizes of a tensor, outermost first; also used for strides (in elements, not bytes).
/// A small fixed array: it is copied freely and passed by value to device kernels.
class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<std::int64_t> sizes) { assign(sizes.begin(), sizes.end()); }
  template <class Iterator>
  Shape(Iterator first, Iterator last) {
    assign(first, last);
  }
  /// `rank` times the same value.
  static Shape filled(int rank, std::int64_t value);

  int rank() const { return rank_; }
  bool empty() const { return rank_ == 0; }
  std::int64_t operator[](int i) const { return sizes_[i]; }
  std::int64_t& operator[](int i) { return sizes_[i]; }
  const std::int64_t* begin() const { return sizes_; }
  const std::int64_t* end() const { return sizes_ + rank_; }
  std::int64_t back() const { return sizes_[rank_ - 1]; }
  void push_back(std::int64_t size);
  void insert(int at, std::int64_t size);
  void erase(int at);

  /// Product of the sizes; 1 for a scalar. Unchecked: see `check_shape`.
  std::int64_t numel() const;
  /// The part [first, last).
  Shape slice(int first, int last) const;

  bool operator==(const Shape& other) const;
  bool operator!=(const Shape& other) const { return !(*this == other); }

 private:
  template <class Iterator>
  void assign(Iterator first, Iterator last) {
    for (; first != last; ++first) push_back(*first);
  }

  std::int64_t sizes_[max_rank] = {};
  int rank_ = 0;
};

using Strides = Shape;

/// `[8,3]`; `[]` for a scalar.
std::string to_string(const Shape& shape);

/// Throws ShapeError naming `op` where a size is negative, or where there are more elements than
/// can be counted even if no size were 0.
void check_shape(const char* op, const Shape& shape);

/// Row-major strides of a dense tensor of this shape.
Strides contiguous_strides(const Shape& shape);

/// NumPy broadcasting of two shapes. Throws ShapeError naming `op` where they do not fit.
Shape broadcast_shapes(const char* op, const Shape& a, const Shape& b);

/// `dim` counted from the end where negative, checked against `rank` (a scalar counts as rank 1).
/// Throws IndexError naming `op`.
int normalize_dim(const char* op, std::int64_t dim, int rank);

}  // namespace scangrad
