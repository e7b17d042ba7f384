#pragma once
#include <scangrad/core/bfloat16.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace scangrad {

/// Element types. Order is promotion order: of two dtypes the later one wins.
enum class DType : std::uint8_t { bool_, i32, i64, bf16, f32, f64 };

using enum DType;

std::size_t size_of(DType dtype);
/// `f32`, `i64`, `bool` …
const char* name(DType dtype);
inline bool is_floating(DType dtype) { return dtype >= DType::bf16; }
inline bool is_integer(DType dtype) { return dtype == DType::i32 || dtype == DType::i64; }

template <class T>
struct DTypeOf;
template <>
struct DTypeOf<bool> {
  static constexpr DType value = DType::bool_;
};
template <>
struct DTypeOf<std::int32_t> {
  static constexpr DType value = DType::i32;
};
template <>
struct DTypeOf<std::int64_t> {
  static constexpr DType value = DType::i64;
};
template <>
struct DTypeOf<bfloat16> {
  static constexpr DType value = DType::bf16;
};
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::f32;
};
template <>
struct DTypeOf<double> {
  static constexpr DType value = DType::f64;
};
template <class T>
inline constexpr DType dtype_of = DTypeOf<T>::value;

/// Is `value`, its fraction cut off, one of the dtype's? Everything fits a floating-point dtype, by
/// rounding or as infinity, and is true or false.
bool fits(DType dtype, double value);

/// The type in which arithmetic on T is carried out: float for bfloat16, T otherwise.
template <class T>
struct ComputeType {
  using type = T;
};
template <>
struct ComputeType<bfloat16> {
  using type = float;
};
template <class T>
using compute_type = typename ComputeType<T>::type;

template <class... Ts>
struct TypeList {};
using FloatTypes = TypeList<float, double, bfloat16>;
using NumberTypes = TypeList<float, double, bfloat16, std::int32_t, std::int64_t>;
using AllTypes = TypeList<float, double, bfloat16, std::int32_t, std::int64_t, bool>;

template <class T>
struct TypeTag {
  using type = T;
};

/// Throws DTypeError: a kernel was reached with a dtype that its front-end should have refused.
[[noreturn]] void unexpected_dtype(DType dtype);

/// Calls `f(TypeTag<T>{})` with the T of the list that `dtype` names.
/// `static`: CPU kernels are compiled once per instruction set, and must not share this code.
template <class... Ts, class F>
static inline void dispatch(TypeList<Ts...>, DType dtype, F&& f) {
  const bool found = ((dtype == dtype_of<Ts> ? (f(TypeTag<Ts>{}), true) : false) || ...);
  if (!found) unexpected_dtype(dtype);
}

}  // namespace scangrad
