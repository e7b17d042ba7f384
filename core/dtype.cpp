#include <scangrad/core/dtype.h>
#include <scangrad/core/format.h>

#include <cmath>

namespace scangrad {

std::size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::bool_:
      return 1;
    case DType::bf16:
      return 2;
    case DType::i32:
    case DType::f32:
      return 4;
    case DType::i64:
    case DType::f64:
      return 8;
  }
  return 0;
}

const char* name(DType dtype) {
  switch (dtype) {
    case DType::bool_:
      return "bool";
    case DType::i32:
      return "i32";
    case DType::i64:
      return "i64";
    case DType::bf16:
      return "bf16";
    case DType::f32:
      return "f32";
    case DType::f64:
      return "f64";
  }
  return "?";
}

bool fits(DType dtype, double value) {
  if (!is_integer(dtype)) return true;
  const double bound = dtype == DType::i32 ? 0x1p31 : 0x1p63;
  return std::trunc(value) >= -bound && value < bound;
}

void unexpected_dtype(DType dtype) { fail<DTypeError>("kernel: no implementation for {}", dtype); }

}  // namespace scangrad
