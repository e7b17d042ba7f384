#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/join.h>
#include <scangrad/ops/matmul.h>
#include <scangrad/ops/scan_frontend.h>
#include <scangrad/ops/shape.h>

#include <array>

namespace scangrad {
namespace {

constexpr std::array<const char*, 7> algorithm_names = {
    "automatic", "sequential", "hillis_steele", "sklansky", "brent_kung", "blelloch", "chunked"};

}  // namespace

const char* name(ScanAlgorithm algorithm) {
  const auto i = static_cast<std::size_t>(algorithm);
  check<ValueError>(i < algorithm_names.size(), "scan: {} is no algorithm", i);
  return algorithm_names[i];
}

ScanAlgorithm scan_algorithm(const std::string& name) {
  for (std::size_t i = 0; i < algorithm_names.size(); ++i) {
    if (name == algorithm_names[i]) return static_cast<ScanAlgorithm>(i);
  }
  fail<ValueError>("scan: there is no algorithm \"{}\"; there are {}", name,
                   fmt::join(algorithm_names, ", "));
}

// ---- layout

ScanLayout::ScanLayout(const char* op, const Shape& shape, int tail, const ScanOptions& options)
    : op_(op),
      shape_(shape),
      state_shape_(shape),
      leading_(shape.rank() - tail),
      options_(options) {
  name(options.algorithm);  // throws for a number that is none
  dim_ = normalize_dim(op, options.dim, shape.rank());
  check<IndexError>(dim_ < std::max(leading_, 1),
                    "{}: dim {} is one of the last {} of shape {}, which hold an element", op,
                    options.dim, tail, shape);
  if (leading_ == 0) return;  // a scalar: one step
  for (int i = 0; i < dim_; ++i) outer_ *= shape[i];
  count_ = shape[dim_];
  for (int i = dim_ + 1; i < leading_; ++i) inner_ *= shape[i];
  state_shape_.erase(dim_);
}

Tensor ScanLayout::elements(const Tensor& x) const {
  Shape canonical{outer_, count_, inner_};
  for (int i = leading_; i < x.rank(); ++i) canonical.push_back(x.shape()[i]);
  return contiguous(reshape(x, canonical));
}

Tensor ScanLayout::initial(const Tensor& like) const {
  if (!options_.initial.has_value() || !options_.initial->defined()) return {};
  const Tensor& initial = *options_.initial;
  check<ShapeError>(initial.shape() == state_shape_,
                    "{}: initial has shape {} but a state has {}: the input's without dim", op_,
                    initial.shape(), state_shape_);
  check_same_device(op_, initial, like);
  check_same_dtype(op_, initial, like);
  Shape canonical{outer_, inner_};
  for (int i = leading_; i < shape_.rank(); ++i) canonical.push_back(shape_[i]);
  return contiguous(reshape(initial, canonical));
}

Tensor ScanLayout::cuts(const Tensor& like) const {
  if (!options_.resets.has_value() || !options_.resets->defined()) return {};
  const Tensor& resets = *options_.resets;
  check<DTypeError>(resets.dtype() == DType::bool_, "{}: resets are {}, not bool", op_,
                    resets.dtype());
  check_same_device(op_, resets, like);
  // One size for every leading dimension, 1 for those that share.
  const int rank = resets.rank(), first = rank == leading_ ? 0 : dim_ + 1 - rank;
  Shape leading = shape_.slice(0, leading_), wide = Shape::filled(leading_, 1);
  bool fits = rank > 0 && first >= 0 && leading_ > 0;
  for (int i = 0; fits && i < rank; ++i) {
    const int at = first + i;
    wide[at] = resets.shape()[i];
    fits = wide[at] == leading[at] || (wide[at] == 1 && at != dim_);
  }
  check<ShapeError>(
      fits, "{}: resets have shape {}, but must be [{}], or broadcast to {}{}", op_, resets.shape(),
      count_, leading.slice(0, leading_ > 0 ? dim_ + 1 : 0),
      dim_ + 1 < leading_ ? fmt::format(" or, with as many dimensions, to {}", leading) : "");
  // Dimensions after the last that tells resets apart make one group.
  for (int i = leading_ - 1; i > dim_ && wide[i] == 1; --i) leading[i] = 1;
  const Tensor marks =
      contiguous(reshape(expand(reshape(resets.detach(), wide), leading),
                         {outer_, count_, leading.slice(dim_ + 1, leading_).numel()}));
  if (marks.numel() == 0) return {};
  // Read backwards, what enters step t comes from step t + 1, where a segment may begin.
  return options_.reverse ? adjoint_cuts(marks, {}) : marks;
}

ScanResult ScanLayout::result(const ScanResult& canonical) const {
  return {reshape(canonical.states, shape_), reshape(canonical.last, state_shape_)};
}

Tensor shifted(const Tensor& states, const Tensor& edge, bool to_end) {
  const Tensor single = unsqueeze(edge, 1);
  const std::int64_t count = states.shape()[1];
  return to_end ? cat({single, slice(states, 1, 0, count - 1)}, 1)
                : cat({slice(states, 1, 1), single}, 1);
}

namespace {

/// `cuts` (outer, …, groups) as a mask that broadcasts to `shape` (outer, …, inner, own…).
Tensor mask_of(const Tensor& cuts, const Shape& shape) {
  const int at = cuts.rank() - 1;
  const std::int64_t groups = cuts.shape()[at], inner = shape[at];
  Shape grouped = cuts.shape();
  grouped.push_back(1);
  Shape spread = cuts.shape();
  spread.push_back(groups > 0 ? inner / groups : 1);
  Shape mask = cuts.shape();
  mask[at] = inner;
  for (int i = at + 1; i < shape.rank(); ++i) mask.push_back(1);
  return reshape(expand(reshape(cuts, grouped), spread), mask);
}

}  // namespace

Tensor adjoint_cuts(const Tensor& cuts, ScanPlan plan) {
  if (!cuts.defined()) return {};
  const Tensor none = zeros({cuts.shape()[0], cuts.shape()[2]}, cuts.options());
  return shifted(cuts, none, plan.reverse);
}

Tensor cut_states(const Tensor& cuts, const Tensor& entering, const Tensor& states) {
  return cuts.defined() ? where(mask_of(cuts, states.shape()), entering, states) : states;
}

Tensor cut_initial_gradient(const Tensor& cuts, const Tensor& gradient, ScanPlan plan) {
  if (!cuts.defined()) return gradient;
  const Tensor first = select(cuts, 1, plan.reverse ? -1 : 0);
  return masked_fill(gradient, mask_of(first, gradient.shape()), 0.0);
}

// ---- linear, matmul and affine scans: one family

namespace {

/// What distinguishes them. In the comments a product is a matrix product, or one of scalars.
struct ActionScan {
  const char* name;
  ScanKernel* Kernels::*forward;
  ScanBackwardKernel* Kernels::*backward;
  bool matrices;
  bool starts_at_one;
};
constexpr ActionScan linear_action{"linear_scan", &Kernels::linear_scan,
                                   &Kernels::linear_scan_backward, false, false};
constexpr ActionScan matmul_action{"matmul_scan", &Kernels::matmul_scan,
                                   &Kernels::matmul_scan_backward, true, true};
constexpr ActionScan affine_action{"affine_scan", &Kernels::affine_scan,
                                   &Kernels::affine_scan_backward, true, false};

/// The state before anything: ones on the diagonals, or zeros.
Tensor first_state(const ActionScan& action, const Shape& shape, const TensorOptions& options) {
  const Tensor state = zeros(shape, options);
  if (action.starts_at_one && state.numel() > 0) {  // (outer, inner, n, n)
    const std::int64_t batch = shape[0] * shape[1], n = shape[2];
    backend(state.device()).fill(state.as_strided({batch, n}, {n * n, n + 1}, 0), 1);
  }
  return state;
}

/// h_t = h_{t-1} a_t + b_t over (outer, T, inner, …); b undefined for none.
ScanResult scan_action(const ActionScan& action, const Tensor& a, const Tensor& b,
                       const Tensor& initial, const Tensor& cuts, ScanPlan plan);

/// The gradients of a, b and initial, in recorded operations. With q_t the whole cotangent of h_t,
/// p_t = q_t a_tᵀ is what reaches h_{t-1} through step t. Inclusive: q_t = g_t + p_{t+1}, so that p
/// is the affine scan of (a_tᵀ, g_t a_tᵀ) the other way round, and q - g its exclusive form.
/// Exclusive, g_t belongs to h_{t-1}: q_{t-1} = g_t + q_t a_tᵀ is itself that scan of (a_tᵀ, g_t).
Tensors action_gradients(const ActionScan& action, const Backward& context, ScanPlan plan) {
  const Tensor &g = context.grads[0], &g_last = context.grads[1];
  const Tensor &a = context.saved[0], &initial = context.saved[1], &states = context.saved[2],
               &cuts = context.saved[3];
  const Tensor at = action.matrices ? transpose(a, -1, -2) : a;
  const auto times_at = [&](const Tensor& q) { return action.matrices ? matmul(q, at) : q * at; };

  const ScanPlan back{!plan.reverse, true, ScanAlgorithm::automatic};
  const ActionScan& affine = action.matrices ? affine_action : linear_action;
  const auto [carried, d_initial] =
      scan_action(affine, contiguous(at), contiguous(plan.exclusive ? g : times_at(g)),
                  contiguous(g_last), adjoint_cuts(cuts, plan), back);
  const Tensor q = plan.exclusive ? carried : g + carried;
  Tensor da;
  if (context.needs[0]) {
    const Tensor identity = first_state(action, g_last.shape(), g_last.options());
    const Tensor start = initial.defined() ? initial : identity;
    const Tensor previous = plan.exclusive ? states
                                           : cut_states(cuts, unsqueeze(identity, 1),
                                                        shifted(states, start, !plan.reverse));
    da = action.matrices ? matmul(transpose(previous, -1, -2), q) : previous * q;
  }
  return {da, q, cut_initial_gradient(cuts, d_initial, plan)};
}

/// The same by the fused kernel.
Tensors fused_action_gradients(const ActionScan& action, const Backward& context, ScanPlan plan) {
  const Tensor g = contiguous(context.grads[0]), g_last = contiguous(context.grads[1]);
  const Tensor &a = context.saved[0], &initial = context.saved[1], &states = context.saved[2],
               &cuts = context.saved[3];
  const Tensor da = context.needs[0] ? empty_like(a) : Tensor{};
  const Tensor db = context.needs[1] ? empty_like(states) : Tensor{};
  const Tensor d_initial = context.needs[2] ? empty_like(g_last) : Tensor{};
  kernel_for(action.name, a.device(), action.backward)(da, db, d_initial, a, states, initial, g,
                                                       g_last, cuts, plan);
  return {da, db, d_initial};
}

/// Of what scan_action recorded.
Tensors gradients(const ActionScan& action, const Backward& context, ScanPlan plan) {
  const Tensor& states = context.saved[2];
  if (states.numel() == 0) {  // T = 0: last is initial
    return {zeros_like(context.saved[0]), context.needs[1] ? zeros_like(states) : Tensor{},
            context.grads[1]};
  }
  return context.create_graph ? action_gradients(action, context, plan)
                              : fused_action_gradients(action, context, plan);
}

ScanResult scan_action(const ActionScan& action, const Tensor& a, const Tensor& b,
                       const Tensor& initial, const Tensor& cuts, ScanPlan plan) {
  const Tensor states = empty_like(b.defined() ? b : a);
  Shape state_shape = states.shape();
  state_shape.erase(1);
  Tensor last;
  if (states.numel() > 0) {
    last = empty(state_shape, a.options());
    kernel_for(action.name, a.device(), action.forward)(states, last, a, b, initial, cuts, plan);
  } else {
    last =
        initial.defined() ? clone(initial.detach()) : first_state(action, state_shape, a.options());
  }
  record(action.name, {a, b, initial}, {states, last}, {a, initial, states, cuts},
         [&action, plan](const Backward& context) { return gradients(action, context, plan); });
  return {states, last};
}

/// x with its dimensions before the last two broadcast to `leading`.
Tensor expand_leading(const Tensor& x, const Shape& leading) {
  Shape shape = leading;
  shape.push_back(x.shape()[x.rank() - 2]);
  shape.push_back(x.shape().back());
  return expand(x, shape);
}

}  // namespace

void check_square(const char* op, const Tensor& m) {
  const Shape& shape = m.shape();
  check<ShapeError>(m.rank() >= 3,
                    "{}: shape {} has no dimension to scan: it must be [..., T, n, n]", op, shape);
  check<ShapeError>(shape[m.rank() - 2] == shape.back(),
                    "{}: the matrices of shape {} are not square: {} != {}", op, shape,
                    shape[m.rank() - 2], shape.back());
}

ScanResult canonical_linear_scan(const Tensor& a, const Tensor& b, const Tensor& initial,
                                 const Tensor& cuts, ScanPlan plan) {
  return scan_action(linear_action, a, b, initial, cuts, plan);
}

Tensors matmul_scan_gradients(const Backward& context, ScanPlan plan) {
  return gradients(matmul_action, context, plan);
}

ScanResult linear_scan(const Tensor& a, const Tensor& b, const ScanOptions& options) {
  check_same_device("linear_scan", a, b);
  check_same_dtype("linear_scan", a, b);
  check_dtype("linear_scan", a, FloatTypes{});
  const Shape shape = broadcast_shapes("linear_scan", a.shape(), b.shape());
  const ScanLayout layout("linear_scan", shape, 0, options);
  return layout.result(scan_action(linear_action, layout.elements(expand(a, shape)),
                                   layout.elements(expand(b, shape)), layout.initial(b),
                                   layout.cuts(b), layout.plan()));
}

ScanResult matmul_scan(const Tensor& m, const ScanOptions& options) {
  check_dtype("matmul_scan", m, FloatTypes{});
  check_square("matmul_scan", m);
  const ScanLayout layout("matmul_scan", m.shape(), 2, options);
  return layout.result(scan_action(matmul_action, layout.elements(m), {}, layout.initial(m),
                                   layout.cuts(m), layout.plan()));
}

ScanResult affine_scan(const Tensor& a, const Tensor& b, const ScanOptions& options) {
  check_same_device("affine_scan", a, b);
  check_same_dtype("affine_scan", a, b);
  check_dtype("affine_scan", a, FloatTypes{});
  check_square("affine_scan", a);
  check<ShapeError>(b.rank() >= 2 && b.shape().back() == a.shape().back(),
                    "affine_scan: a {} and b {} do not match: b must be [..., p, n] with n = {}",
                    a.shape(), b.shape(), a.shape().back());
  const Shape leading = broadcast_shapes("affine_scan", a.shape().slice(0, a.rank() - 2),
                                         b.shape().slice(0, b.rank() - 2));
  const Tensor wide_a = expand_leading(a, leading), wide_b = expand_leading(b, leading);
  const ScanLayout layout("affine_scan", wide_b.shape(), 2, options);
  return layout.result(scan_action(affine_action, layout.elements(wide_a), layout.elements(wide_b),
                                   layout.initial(b), layout.cuts(b), layout.plan()));
}

}  // namespace scangrad
