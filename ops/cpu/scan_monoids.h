#pragma once
// The monoids of the scans, as the CPU computes them: what ops/scan_algorithms.h asks of a monoid,
// and of one whose backward is a kernel of its own, for a cotangent q of a state:
//   pull(out, q, a, addend)            out = q pulled back through the action of a, + addend;
//   element_gradient(da, state, q)     the gradient of a where q is that of state acted on by a;
//   combine_linear(out, l, r)          out = the linear part of l ∘ r.
#include <scangrad/ops/cpu/small_matrix.h>
#include <scangrad/ops/scan_functors.h>
#include <scangrad/ops/scan_run.h>

namespace scangrad::SCANGRAD_CPU_NAMESPACE {
namespace {

/// A scalar monoid F (ops/scan_functors.h) on `lanes` neighbouring sequences at once.
template <class Scalar, class F>
struct Lanes {
  using C = Scalar;
  std::int64_t lanes;
  C* scratch = nullptr;

  std::int64_t size_a() const { return lanes; }
  std::int64_t size_b() const { return 0; }
  std::int64_t state_size() const { return lanes; }
  std::int64_t scratch_size() const { return 0; }

  void start(C* state) const {
    for (std::int64_t i = 0; i < lanes; ++i) state[i] = F::template identity<C>();
  }
  void identity(Element<C> out) const { start(out.a); }
  void step(C* next, const C* state, Element<const C> x) const {
#pragma omp simd
    for (std::int64_t i = 0; i < lanes; ++i) next[i] = F::combine(state[i], x.a[i]);
  }
  void combine(Element<C> out, Element<const C> l, Element<const C> r) const {
    step(out.a, l.a, r);
  }
};

/// h ← h a + b on `lanes` neighbouring sequences at once.
template <class Scalar>
struct LinearLanes {
  using C = Scalar;
  std::int64_t lanes;
  C* scratch = nullptr;

  std::int64_t size_a() const { return lanes; }
  std::int64_t size_b() const { return lanes; }
  std::int64_t state_size() const { return lanes; }
  std::int64_t scratch_size() const { return 0; }

  void start(C* state) const {
    for (std::int64_t i = 0; i < lanes; ++i) state[i] = C(0);
  }
  void identity(Element<C> out) const {
    for (std::int64_t i = 0; i < lanes; ++i) out.a[i] = C(1);
    start(out.b);
  }
  void step(C* next, const C* state, Element<const C> x) const {
#pragma omp simd
    for (std::int64_t i = 0; i < lanes; ++i) next[i] = state[i] * x.a[i] + x.b[i];
  }
  void combine(Element<C> out, Element<const C> l, Element<const C> r) const {
#pragma omp simd
    for (std::int64_t i = 0; i < lanes; ++i) {
      const C a = l.a[i] * r.a[i];
      out.b[i] = l.b[i] * r.a[i] + r.b[i];
      out.a[i] = a;
    }
  }

  void combine_linear(C* out, const C* l, const C* r) const {
#pragma omp simd
    for (std::int64_t i = 0; i < lanes; ++i) out[i] = l[i] * r[i];
  }
  void pull(C* out, const C* q, const C* a, const C* addend) const {
#pragma omp simd
    for (std::int64_t i = 0; i < lanes; ++i) out[i] = q[i] * a[i] + (addend ? addend[i] : C(0));
  }
  void element_gradient(C* da, const C* state, const C* q) const {
#pragma omp simd
    for (std::int64_t i = 0; i < lanes; ++i) da[i] = state[i] * q[i];
  }
};

/// What the matrix monoids share: states are (p, n), the elements' linear part (n, n). `order` is n
/// where it is known when compiled, else 0.
template <class Scalar, int order>
struct MatrixAction {
  using C = Scalar;
  std::int64_t rows;       // p
  std::int64_t any_order;  // n
  C* scratch = nullptr;    // (n, n)

  std::int64_t n() const { return order > 0 ? order : any_order; }
  std::int64_t size_a() const { return n() * n(); }
  std::int64_t scratch_size() const { return n() * n(); }

  /// out (p, n) = left (p, n) · right (n, n) + addend.
  void multiply(C* out, const C* left, const C* right, std::int64_t p, const C* addend) const {
    small_product<C>({out, left, n(), 1, right, addend, p, n(), n()});
  }
  void unit_matrix(C* out) const {
    for (std::int64_t i = 0; i < size_a(); ++i) out[i] = C(0);
    for (std::int64_t i = 0; i < n(); ++i) out[i * (n() + 1)] = C(1);
  }
  void combine_linear(C* out, const C* l, const C* r) const {
    multiply(scratch, l, r, n(), nullptr);
    copy_values(out, scratch, size_a());
  }
  /// out = q aᵀ + addend.
  void pull_rows(C* out, const C* q, const C* a, const C* addend, std::int64_t p) const {
    small_transpose(scratch, a, n());
    multiply(out, q, scratch, p, addend);
  }
  /// da = stateᵀ q.
  void gradient_rows(C* da, const C* state, const C* q, std::int64_t p) const {
    small_product<C>({da, state, 1, n(), q, nullptr, n(), p, n()});
  }
};

/// H ← H M.
template <class Scalar, int order>
struct MatrixProduct : MatrixAction<Scalar, order> {
  using C = Scalar;

  std::int64_t size_b() const { return 0; }
  std::int64_t state_size() const { return this->size_a(); }

  void start(C* state) const { this->unit_matrix(state); }
  void identity(Element<C> out) const { this->unit_matrix(out.a); }
  void step(C* next, const C* state, Element<const C> x) const {
    this->multiply(next, state, x.a, this->n(), nullptr);
  }
  void combine(Element<C> out, Element<const C> l, Element<const C> r) const {
    this->combine_linear(out.a, l.a, r.a);
  }

  void pull(C* out, const C* q, const C* a, const C* addend) const {
    this->pull_rows(out, q, a, addend, this->n());
  }
  void element_gradient(C* da, const C* state, const C* q) const {
    this->gradient_rows(da, state, q, this->n());
  }
};

/// H ← H M with H = 2^e S, max |S| brought into [1, 2) by powers of two, which is exact. A block is
/// S and, in one value more, the bits of e; tensors keep e apart, and elements in them have e = 0.
template <class Scalar, int order>
struct ScaledProduct : MatrixProduct<Scalar, order> {
  using C = Scalar;
  using Base = MatrixProduct<Scalar, order>;

  std::int64_t size_a() const { return Base::size_a() + 1; }
  std::int64_t state_size() const { return size_a(); }

  std::int32_t exponent(const C* block) const {
    std::int32_t e;
    std::memcpy(&e, block + Base::size_a(), sizeof(e));
    return e;
  }
  void set_exponent(C* block, std::int32_t e) const {
    std::memcpy(block + Base::size_a(), &e, sizeof(e));
  }
  void start(C* state) const {
    this->unit_matrix(state);
    set_exponent(state, 0);
  }
  void identity(Element<C> out) const { start(out.a); }
  void step(C* next, const C* state, Element<const C> x) const {
    Base::step(next, state, x);
    normalise(next, exponent(state) + exponent(x.a));
  }
  void combine(Element<C> out, Element<const C> l, Element<const C> r) const {
    const std::int32_t e = exponent(l.a) + exponent(r.a);
    Base::combine(out, l, r);
    normalise(out.a, e);
  }

 private:
  /// `block` as 2^e times its matrix.
  void normalise(C* block, std::int32_t e) const {
    const std::int64_t size = Base::size_a();
    C most = 0;
#pragma omp simd reduction(max : most)
    for (std::int64_t i = 0; i < size; ++i) {
      const C magnitude = block[i] < C(0) ? -block[i] : block[i];
      most = magnitude > most ? magnitude : most;
    }
    const int k = scan_functors::binary_exponent(most);
    if (k != 0) {
      const C factor = scan_functors::power_of_two<C>(-k);
      for (std::int64_t i = 0; i < size; ++i) block[i] *= factor;
    }
    set_exponent(block, e + k);
  }
};

/// H ← H A + B.
template <class Scalar, int order>
struct MatrixAffine : MatrixAction<Scalar, order> {
  using C = Scalar;

  std::int64_t size_b() const { return this->rows * this->n(); }
  std::int64_t state_size() const { return size_b(); }
  std::int64_t scratch_size() const { return this->size_a() + size_b(); }

  void start(C* state) const {
    for (std::int64_t i = 0; i < state_size(); ++i) state[i] = C(0);
  }
  void identity(Element<C> out) const {
    this->unit_matrix(out.a);
    start(out.b);
  }
  void step(C* next, const C* state, Element<const C> x) const {
    this->multiply(next, state, x.a, this->rows, x.b);
  }
  void combine(Element<C> out, Element<const C> l, Element<const C> r) const {
    C* const moved = this->scratch + this->size_a();
    this->multiply(moved, l.b, r.a, this->rows, r.b);
    this->combine_linear(out.a, l.a, r.a);
    copy_values(out.b, moved, size_b());
  }

  void pull(C* out, const C* q, const C* a, const C* addend) const {
    this->pull_rows(out, q, a, addend, this->rows);
  }
  void element_gradient(C* da, const C* state, const C* q) const {
    this->gradient_rows(da, state, q, this->rows);
  }
};

// ---- which one fits

/// Calls f(TypeTag<T>, monoid) with the scalar monoid F of T's compute type.
template <class F, class Types, class Call>
void with_lanes(const Tensor& states, const Tensor&, Call&& f) {
  dispatch(Types{}, states.dtype(),
           [&](auto type) { f(type, Lanes<compute_type<typename decltype(type)::type>, F>{0}); });
}

/// Calls f(TypeTag<T>, monoid) with the linear monoid of T's compute type.
template <class F>
void with_linear(const Tensor& states, const Tensor&, F&& f) {
  dispatch(FloatTypes{}, states.dtype(), [&](auto type) {
    f(type, LinearLanes<compute_type<typename decltype(type)::type>>{0});
  });
}

/// The same with a matrix monoid, its order compiled in where that pays.
template <template <class, int> class Monoid, class F>
void with_matrices(const Tensor& states, const Tensor& a, F&& f) {
  const std::int64_t rows = states.shape()[3], n = a.shape()[4];
  dispatch(FloatTypes{}, states.dtype(), [&](auto type) {
    using C = compute_type<typename decltype(type)::type>;
    const auto with_order = [&](auto order) {
      f(type, Monoid<C, decltype(order)::value>{{rows, n}});
    };
    if constexpr (std::is_same_v<C, float>) {
      if (n == 4) return with_order(std::integral_constant<int, 4>{});
      if (n == 8) return with_order(std::integral_constant<int, 8>{});
      if (n == 16) return with_order(std::integral_constant<int, 16>{});
      if (n == 32) return with_order(std::integral_constant<int, 32>{});
    }
    with_order(std::integral_constant<int, 0>{});
  });
}
template <class F>
void with_product(const Tensor& states, const Tensor& a, F&& f) {
  with_matrices<MatrixProduct>(states, a, f);
}
template <class F>
void with_scaled_product(const Tensor& states, const Tensor& a, F&& f) {
  with_matrices<ScaledProduct>(states, a, f);
}
template <class F>
void with_affine(const Tensor& states, const Tensor& a, F&& f) {
  with_matrices<MatrixAffine>(states, a, f);
}

}  // namespace
}  // namespace scangrad::SCANGRAD_CPU_NAMESPACE
