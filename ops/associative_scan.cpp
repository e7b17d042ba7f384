#include <scangrad/core/format.h>
#include <scangrad/ops/join.h>
#include <scangrad/ops/scan.h>
#include <scangrad/ops/shape.h>

namespace scangrad {
namespace {

/// f of every tensor of a tuple (or of two tuples at once).
template <class F>
Tensors each(const Tensors& x, const F& f) {
  Tensors out;
  for (const Tensor& t : x) out.push_back(f(t));
  return out;
}
template <class F>
Tensors each(const Tensors& x, const Tensors& y, const F& f) {
  Tensors out;
  for (std::size_t i = 0; i < x.size(); ++i) out.push_back(f(x[i], y[i]));
  return out;
}

/// `combine`, held to what it promises.
Tensors combined(const ScanCombine& combine, const Tensors& left, const Tensors& right) {
  const Tensors out = combine(left, right);
  check<ShapeError>(out.size() == left.size(),
                    "associative_scan: combine returned {} tensors, not {}", out.size(),
                    left.size());
  for (std::size_t i = 0; i < out.size(); ++i) {
    check<ShapeError>(out[i].shape() == right[i].shape(),
                      "associative_scan: combine returned shape {} for element {} of shape {}",
                      out[i].shape(), i, right[i].shape());
  }
  return out;
}

/// The inclusive scan. The pairs x_1 ∘ x_2, x_3 ∘ x_4, … scanned are the states at every other
/// place; one more step each gives those between.
Tensors inclusive(const ScanCombine& combine, const Tensors& x, int dim) {
  const std::int64_t n = x[0].size(dim), half = n / 2;
  if (n < 2) return x;
  const auto every_other = [&](std::int64_t start) {
    return each(x, [&](const Tensor& t) { return slice(t, dim, start, n - n % 2, 2); });
  };
  const Tensors second = inclusive(combine, combined(combine, every_other(0), every_other(1)), dim);
  Tensors first = each(x, [&](const Tensor& t) { return slice(t, dim, 0, 1); });
  if (n > 2) {
    const auto before = [&](const Tensor& t) { return slice(t, dim, 0, (n - 1) / 2); };
    const auto from_third = [&](const Tensor& t) { return slice(t, dim, 2, n, 2); };
    const Tensors rest = combined(combine, each(second, before), each(x, from_third));
    first = each(first, rest, [&](const Tensor& a, const Tensor& b) { return cat({a, b}, dim); });
  }
  return each(first, second, [&](const Tensor& a, const Tensor& b) {
    const Tensor woven = flatten(stack({slice(a, dim, 0, half), b}, dim + 1), dim, dim + 1);
    return n % 2 == 0 ? woven : cat({woven, slice(a, dim, half, half + 1)}, dim);
  });
}

}  // namespace

AssociativeScanResult associative_scan(const ScanCombine& combine, const Tensors& elements,
                                       const AssociativeScanOptions& options) {
  check<ValueError>(!elements.empty(), "associative_scan: there are no elements");
  const int dim = normalize_dim("associative_scan", options.dim, elements[0].rank());
  const Tensors& initial = options.initial;
  check<ValueError>(initial.empty() || initial.size() == elements.size(),
                    "associative_scan: initial has {} tensors for {} elements", initial.size(),
                    elements.size());
  check<ValueError>(!options.exclusive || !initial.empty(),
                    "associative_scan: an exclusive scan needs initial, its first state");
  const std::int64_t count = elements[0].rank() > 0 ? elements[0].size(dim) : 0;
  for (std::size_t i = 0; i < elements.size(); ++i) {
    const Shape& shape = elements[i].shape();
    check<ShapeError>(shape.rank() > dim && shape[dim] == count,
                      "associative_scan: element {} of shape {} does not have {} steps along "
                      "dimension {}",
                      i, shape, count, dim);
    if (initial.empty()) continue;
    Shape state = shape;
    state.erase(dim);
    check<ShapeError>(initial[i].shape() == state && initial[i].dtype() == elements[i].dtype(),
                      "associative_scan: initial {} is {}{}, not {}{}", i, initial[i].dtype(),
                      initial[i].shape(), elements[i].dtype(), state);
  }

  // The initial state stands in front as one more element.
  const auto turned = [&](const Tensor& t) { return options.reverse ? flip(t, {dim}) : t; };
  Tensors x = each(elements, turned);
  if (!initial.empty()) {
    x = each(initial, x, [&](const Tensor& first, const Tensor& t) {
      return cat({unsqueeze(first, dim), t}, dim);
    });
  }
  const std::int64_t steps = x[0].size(dim);
  if (steps == 0) return {elements, Tensors(elements.size())};
  const Tensors all = inclusive(combine, x, dim);
  const std::int64_t begin = steps - count - (options.exclusive ? 1 : 0);
  return {each(all, [&](const Tensor& t) { return turned(slice(t, dim, begin, begin + count)); }),
          each(all, [&](const Tensor& t) { return select(t, dim, steps - 1); })};
}

}  // namespace scangrad
