#include <scangrad/tests/ops/reference.h>

#include <algorithm>

namespace reference {

double broadcast_at(const Array& x, const Shape& index) {
  Shape own = x.shape;
  for (int dim = 0; dim < own.rank(); ++dim) {
    own[dim] = x.shape[dim] == 1 ? 0 : index[index.rank() - own.rank() + dim];
  }
  return x.at(own);
}

Shape broadcast_shape(const Arrays& xs) {
  int rank = 0;
  for (const Array& x : xs) rank = std::max(rank, x.shape.rank());
  Shape shape = Shape::filled(rank, 1);
  for (const Array& x : xs) {
    for (int dim = 0; dim < x.shape.rank(); ++dim) {
      std::int64_t& size = shape[rank - x.shape.rank() + dim];
      if (x.shape[dim] != 1) size = x.shape[dim];
    }
  }
  return shape;
}

namespace {

/// y at each index = f(the operands' values there).
Function pointwise(const std::function<double(const std::vector<double>&)>& f) {
  return [f](const Arrays& in) {
    Array out(broadcast_shape(in));
    std::vector<double> values(in.size());
    const bool alike =
        std::all_of(in.begin(), in.end(), [&](const Array& x) { return x.shape == out.shape; });
    if (alike) {  // the same without index arithmetic: large inputs come often
      for (std::int64_t i = 0; i < out.numel(); ++i) {
        for (std::size_t k = 0; k < in.size(); ++k) values[k] = in[k][i];
        out[i] = f(values);
      }
      return Arrays{out};
    }
    for_each_index(out.shape, [&](const Shape& index) {
      for (std::size_t k = 0; k < in.size(); ++k) values[k] = broadcast_at(in[k], index);
      out.at(index) = f(values);
    });
    return Arrays{out};
  };
}

}  // namespace

Function map(const std::function<double(double)>& f) {
  return pointwise([f](const std::vector<double>& v) { return f(v[0]); });
}
Function map(const std::function<double(double, double)>& f) {
  return pointwise([f](const std::vector<double>& v) { return f(v[0], v[1]); });
}
Function map(const std::function<double(double, double, double)>& f) {
  return pointwise([f](const std::vector<double>& v) { return f(v[0], v[1], v[2]); });
}

Function reduction(const std::vector<std::int64_t>& dims, bool keepdim,
                   const std::function<double(const std::vector<double>&)>& f) {
  return [=](const Arrays& in) {
    const Array& x = in[0];
    std::vector<bool> reduced(static_cast<std::size_t>(x.shape.rank()), dims.empty());
    for (std::int64_t dim : dims) {
      const int rank = x.shape.rank();
      if (rank > 0) reduced[static_cast<std::size_t>((dim + rank) % rank)] = true;
    }
    Shape kept, dropped;
    for (int dim = 0; dim < x.shape.rank(); ++dim) {
      const bool gone = reduced[static_cast<std::size_t>(dim)];
      kept.push_back(gone ? 1 : x.shape[dim]);
      if (!gone) dropped.push_back(x.shape[dim]);
    }
    Array y(keepdim ? kept : dropped);
    std::vector<std::vector<double>> slices(y.values.size());
    for_each_index(x.shape, [&](const Shape& index) {
      std::int64_t to = 0;
      for (int dim = 0; dim < kept.rank(); ++dim) {
        to = to * kept[dim] + (kept[dim] == 1 ? 0 : index[dim]);
      }
      slices[static_cast<std::size_t>(to)].push_back(x.at(index));
    });
    std::transform(slices.begin(), slices.end(), y.values.begin(), f);
    return Arrays{y};
  };
}

}  // namespace reference
