#pragma once
// Internal: what the front-ends of the scans share. Every scan is brought to one layout,
// (outer, T, inner, …), by views: nothing is transposed, and T is always dimension 1.
#include <scangrad/ops/frontend.h>
#include <scangrad/ops/scan.h>

namespace scangrad {

/// The shape of a scan's operands, and the way there and back.
class ScanLayout {
 public:
  /// `shape` is that of the states: dimensions, one of them scanned, then `tail` of an element's
  /// own.
  ScanLayout(const char* op, const Shape& shape, int tail, const ScanOptions& options);

  /// (outer, T, inner, own…) of an operand whose leading dimensions are the states'.
  Tensor elements(const Tensor& x) const;
  /// (outer, inner, own…) of the initial state; undefined where there is none. Throws.
  Tensor initial(const Tensor& states_like) const;
  /// A kernel's cuts, (outer, T, groups), from the resets; undefined where there are none. Throws.
  Tensor cuts(const Tensor& states_like) const;
  /// Back to the shape of the user's tensors.
  ScanResult result(const ScanResult& canonical) const;

  const Shape& shape() const { return shape_; }
  ScanPlan plan() const { return {options_.reverse, options_.exclusive, options_.algorithm}; }

 private:
  const char* op_;
  Shape shape_;        // of the states
  Shape state_shape_;  // without the scanned dimension
  int leading_;        // dimensions before an element's own
  int dim_ = 0;
  std::int64_t outer_ = 1, count_ = 1, inner_ = 1;
  const ScanOptions& options_;
};

/// (outer, T, inner, …) moved by one step, towards the end or the start, with `edge` (outer, inner,
/// …) in the place that becomes free: from the states after each step to those before, and back.
Tensor shifted(const Tensor& states, const Tensor& edge, bool to_end);

/// The cuts of a scan's adjoint, which runs the other way round: what enters step t going back is
/// cut where the step it comes from begins a segment.
Tensor adjoint_cuts(const Tensor& cuts, ScanPlan plan);
/// Before each step, (outer, T, inner, …): `entering` where a segment begins there, else `states`.
/// `entering` broadcasts.
Tensor cut_states(const Tensor& cuts, const Tensor& entering, const Tensor& states);
/// What an adjoint leaves for the initial state, (outer, inner, …): nothing where that was cut off.
Tensor cut_initial_gradient(const Tensor& cuts, const Tensor& gradient, ScanPlan plan);

/// Throws ShapeError unless m is [..., T, n, n].
void check_square(const char* op, const Tensor& m);

/// The gradients of a matmul_scan's {m, –, initial} from what it saved: {m, initial, states, cuts}.
Tensors matmul_scan_gradients(const Backward& context, ScanPlan plan);

/// linear_scan of (outer, T, inner) operands, recorded.
ScanResult canonical_linear_scan(const Tensor& a, const Tensor& b, const Tensor& initial,
                                 const Tensor& cuts, ScanPlan plan);

}  // namespace scangrad
