#pragma once
#include <scangrad/ops/monoid_scan.h>

/// Rotations of the plane, and their scalings, as complex numbers (real, imaginary): z ∘ w = z w.
struct Rotation {
  static constexpr const char* name = "rotation_scan";
  static constexpr int size = 2;

  template <class C>
  SCANGRAD_FN static void identity(C* out) {
    out[0] = C(1);
    out[1] = C(0);
  }
  template <class C>
  SCANGRAD_FN static void combine(C* out, const C* l, const C* r) {
    out[0] = l[0] * r[0] - l[1] * r[1];
    out[1] = l[0] * r[1] + l[1] * r[0];
  }
  /// The product is linear in each factor: dl = g r̄, dr = l̄ g.
  template <class C>
  SCANGRAD_FN static void adjoint(C* dl, C* dr, const C* l, const C* r, const C* g) {
    dl[0] = g[0] * r[0] + g[1] * r[1];
    dl[1] = g[1] * r[0] - g[0] * r[1];
    dr[0] = l[0] * g[0] + l[1] * g[1];
    dr[1] = l[0] * g[1] - l[1] * g[0];
  }
};
