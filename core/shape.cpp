#include <scangrad/core/format.h>
#include <scangrad/core/shape.h>

#include <algorithm>
#include <limits>

namespace scangrad {

Shape Shape::filled(int rank, std::int64_t value) {
  Shape shape;
  for (int i = 0; i < rank; ++i) shape.push_back(value);
  return shape;
}

void Shape::push_back(std::int64_t size) { insert(rank_, size); }

void Shape::insert(int at, std::int64_t size) {
  check<ShapeError>(rank_ < max_rank, "shape: a tensor has at most {} dimensions", max_rank);
  for (int i = rank_; i > at; --i) sizes_[i] = sizes_[i - 1];
  sizes_[at] = size;
  ++rank_;
}

void Shape::erase(int at) {
  for (int i = at; i + 1 < rank_; ++i) sizes_[i] = sizes_[i + 1];
  --rank_;
}

std::int64_t Shape::numel() const {
  std::int64_t n = 1;
  for (std::int64_t size : *this) n *= size;
  return n;
}

Shape Shape::slice(int first, int last) const { return Shape(sizes_ + first, sizes_ + last); }

bool Shape::operator==(const Shape& other) const {
  return std::equal(begin(), end(), other.begin(), other.end());
}

std::string to_string(const Shape& shape) { return fmt::format("[{}]", fmt::join(shape, ",")); }

void check_shape(const char* op, const Shape& shape) {
  std::int64_t limit = std::numeric_limits<std::int64_t>::max() / 8;  // elements of 8 bytes
  for (std::int64_t size : shape) {
    check<ShapeError>(size >= 0, "{}: shape {} has a negative size", op, shape);
    check<ShapeError>(size <= limit, "{}: shape {} has more elements than can be counted", op,
                      shape);
    limit /= std::max<std::int64_t>(size, 1);
  }
}

Strides contiguous_strides(const Shape& shape) {
  Strides strides = Strides::filled(shape.rank(), 1);
  for (int i = shape.rank() - 2; i >= 0; --i) {
    strides[i] = strides[i + 1] * std::max<std::int64_t>(shape[i + 1], 1);
  }
  return strides;
}

Shape broadcast_shapes(const char* op, const Shape& a, const Shape& b) {
  const int rank = std::max(a.rank(), b.rank());
  Shape out = Shape::filled(rank, 1);
  for (int i = 1; i <= rank; ++i) {
    const std::int64_t da = i <= a.rank() ? a[a.rank() - i] : 1;
    const std::int64_t db = i <= b.rank() ? b[b.rank() - i] : 1;
    check<ShapeError>(da == db || da == 1 || db == 1,
                      "{}: shapes {} and {} do not broadcast: {} != {}", op, a, b, da, db);
    out[rank - i] = da == 1 ? db : da;
  }
  return out;
}

int normalize_dim(const char* op, std::int64_t dim, int rank) {
  const int limit = std::max(rank, 1);
  check<IndexError>(-limit <= dim && dim < limit,
                    "{}: dimension {} is out of range for a tensor of rank {}", op, dim, rank);
  return static_cast<int>(dim < 0 ? dim + limit : dim);
}

}  // namespace scangrad
