#include <scangrad/ops/shape.h>
#include <scangrad/tests/ops/scan_rows.h>

#include <algorithm>
#include <cmath>

namespace sg = scangrad;
using reference::Array;
using reference::Arrays;

namespace {

/// state · a (+ b), matrices; scalars are 1 × 1.
std::vector<double> act(const std::vector<double>& state, const double* a, const double* b,
                        const sg::Shape& block) {
  const std::int64_t p = block.empty() ? 1 : block[0], n = block.empty() ? 1 : block[1];
  std::vector<double> next(static_cast<std::size_t>(p * n));
  for (std::int64_t i = 0; i < p; ++i) {
    for (std::int64_t j = 0; j < n; ++j) {
      double total = b ? b[i * n + j] : 0;
      for (std::int64_t k = 0; k < n; ++k) {
        total += state[static_cast<std::size_t>(i * n + k)] * a[k * n + j];
      }
      next[static_cast<std::size_t>(i * n + j)] = total;
    }
  }
  return next;
}
sg::Shape without_time(sg::Shape shape) {
  shape.erase(1);
  return shape;
}

/// `row` without the first state of an exclusive scan. Where that is an infinite identity it has no
/// finite differences, but the states after it have.
OpCase without_first(OpCase row, bool reverse) {
  row.name += ".after_first";
  row.differentiable = true;
  row.op = [op = row.op, reverse](const sg::Tensors& in) {
    sg::Tensors out = op(in);
    const std::int64_t steps = out[0].size(1);
    out[0] = reverse ? sg::slice(out[0], 1, 0, std::max<std::int64_t>(steps - 1, 0))
                     : sg::slice(out[0], 1, 1);
    return out;
  };
  row.reference = [reference = row.reference, reverse](const Arrays& in) {
    Arrays out = reference(in);
    sg::Shape shape = out[0].shape;
    shape[1] = std::max<std::int64_t>(shape[1] - 1, 0);
    Array rest(shape);
    reference::for_each_index(shape, [&](sg::Shape index) {
      double& to = rest.at(index);
      if (!reverse) ++index[1];
      to = out[0].at(index);
    });
    out[0] = rest;
    return out;
  };
  return row;
}

}  // namespace

Arrays ScanDefinition::operator()(const Arrays& in) const {
  const Array& shaped = in[static_cast<std::size_t>(operands - 1)];  // has the states' shape
  const int rank = shaped.shape.rank(), leading = rank - own;
  const sg::Shape block = shaped.shape.slice(leading, rank);
  sg::Shape last_shape = shaped.shape;
  last_shape.erase(dim);
  const std::int64_t steps = shaped.shape[dim], size = block.numel();
  const std::int64_t inner = shaped.shape.slice(dim + 1, leading).numel();
  const std::int64_t outer = shaped.shape.slice(0, dim).numel();
  const std::int64_t size_a =
      in[0].shape.slice(in[0].shape.rank() - own, in[0].shape.rank()).numel();
  Array states(shaped.shape), last(last_shape);
  const auto starts_segment = [&](std::int64_t o, std::int64_t t, std::int64_t i) {
    return has_resets && t < steps && in.back()[(o * steps + t) * inner + i] != 0;
  };
  for (std::int64_t o = 0; o < outer; ++o) {
    for (std::int64_t i = 0; i < inner; ++i) {
      const std::int64_t sequence = o * inner + i;
      std::vector<double> state = identity(block);
      for (std::int64_t j = 0; has_initial && j < size; ++j) {
        state[static_cast<std::size_t>(j)] =
            in[static_cast<std::size_t>(operands)][sequence * size + j];
      }
      for (std::int64_t k = 0; k < steps; ++k) {
        const std::int64_t t = reverse ? steps - 1 - k : k, at = (o * steps + t) * inner + i;
        if (starts_segment(o, reverse ? t + 1 : t, i)) state = identity(block);
        const auto put = [&] {
          for (std::int64_t j = 0; j < size; ++j) {
            states[at * size + j] = state[static_cast<std::size_t>(j)];
          }
        };
        if (exclusive) put();
        state = step(state, in[0].values.data() + at * size_a,
                     operands > 1 ? in[1].values.data() + at * size : nullptr, block);
        if (!exclusive) put();
      }
      for (std::int64_t j = 0; j < size; ++j) {
        last[sequence * size + j] = state[static_cast<std::size_t>(j)];
      }
    }
  }
  return {states, last};
}

ScanDefinition of_actions(int own, int operands,
                          std::vector<double> (*identity)(const sg::Shape&)) {
  ScanDefinition d;
  d.own = own;
  d.operands = operands;
  d.identity = identity;
  d.step = act;
  return d;
}

std::vector<double> zero(const sg::Shape& block) {
  return std::vector<double>(static_cast<std::size_t>(block.numel()), 0.0);
}

std::vector<double> unit(const sg::Shape& block) {
  std::vector<double> state = zero(block);
  const std::int64_t n = block.empty() ? 1 : block[0];
  for (std::int64_t i = 0; i < n; ++i) state[static_cast<std::size_t>(i * (n + 1))] = 1;
  return state;
}

void add_rows(std::vector<OpCase>& rows, const Scan& scan) {
  for (const char* direction : {"", ".reverse"}) {
    for (const char* kind : {"", ".exclusive"}) {
      for (const char* start : {"", ".initial", ".resets"}) {
        ScanDefinition reference = scan.definition;
        reference.reverse = *direction;
        reference.exclusive = *kind;
        reference.has_initial = *start;
        reference.has_resets = start == std::string(".resets");
        if (scan.needs_initial && (!reference.has_initial || reference.has_resets)) continue;
        std::vector<Operands> calls = scan.calls;
        for (Operands& operands : calls) {
          if (!reference.has_initial) continue;
          Operand initial = operands.back();
          const sg::Shape shape = initial.shape;
          initial.shape = without_time(shape);
          operands.push_back(initial);
          if (reference.has_resets) {
            operands.push_back(mask(shape.slice(0, shape.rank() - reference.own)));
          }
        }
        // The identity of an exclusive scan's segments may be infinite.
        const bool differentiable = !reference.exclusive ||
                                    (reference.has_initial && !reference.has_resets) ||
                                    !std::isinf(reference.identity({1, 1})[0]);
        const auto op = [run = scan.run, reference](const sg::Tensors& in) {
          sg::ScanOptions options{
              .dim = 1, .reverse = reference.reverse, .exclusive = reference.exclusive};
          if (reference.has_initial) {
            options.initial = in[static_cast<std::size_t>(reference.operands)];
          }
          if (reference.has_resets) options.resets = in.back();
          const auto [states, last] = run(in, options);
          return sg::Tensors{states, last};
        };
        rows.push_back({.name = scan.name + direction + kind + start,
                        .op = op,
                        .reference = reference,
                        .inputs = calls,
                        .covers = scan.covers,
                        .tolerance = scan.tolerance,
                        .differentiable = differentiable});
        if (!differentiable && !reference.has_resets) {
          rows.push_back(without_first(rows.back(), reference.reverse));
        }
      }
    }
  }
}

Tolerance sums_of_scans() {
  return {[](const sg::Tensors& in) { return double(in[0].shape()[1]); }, 4};
}
