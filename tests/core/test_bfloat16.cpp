#include <scangrad/core/dtype.h>
#include <scangrad/tests/support/catch.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

using scangrad::bfloat16;

namespace {

bfloat16 from_bits(std::uint32_t bits) {
  bfloat16 value;
  value.bits = static_cast<std::uint16_t>(bits);
  return value;
}

float float_from_bits(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

}  // namespace

TEST_CASE("bf16: every value survives the way to float and back") {
  // Checkpoints and casts go through float.
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = from_bits(bits);
    const bfloat16 back(value);
    if (std::isnan(value)) {
      REQUIRE(std::isnan(static_cast<float>(back)));
      REQUIRE((back.bits & 0x8000u) == (bits & 0x8000u));
    } else {
      REQUIRE(back.bits == bits);
    }
  }
}

TEST_CASE("bf16: every float between two neighbours goes to the nearer, halfway to the even one") {
  // For each finite bf16 value: the floats around it, at both ends and in the middle of the gap.
  for (std::uint32_t bits = 0; bits < 0x7f80; ++bits) {
    for (std::uint32_t sign : {0u, 0x8000u}) {
      const std::uint32_t lower = bits | sign,
                          upper = lower + 1;  // upper: away from 0, or infinity
      const std::uint32_t base = lower << 16;
      for (std::uint32_t low : {0x0001u, 0x4000u, 0x7fffu}) {
        REQUIRE(bfloat16(float_from_bits(base | low)).bits == lower);
      }
      for (std::uint32_t low : {0x8001u, 0xc000u, 0xffffu}) {
        REQUIRE(bfloat16(float_from_bits(base | low)).bits == upper);
      }
      const std::uint32_t even = lower % 2 == 0 ? lower : upper;
      REQUIRE(bfloat16(float_from_bits(base | 0x8000u)).bits == even);
    }
  }
}

TEST_CASE("bf16: every NaN of a float stays a NaN, also where its upper bits are an infinity's") {
  for (std::uint32_t payload : {1u, 0x7fffu, 0x8000u, 0xffffu, 0x10000u, 0x7fffffu}) {
    for (std::uint32_t sign : {0u, 0x80000000u}) {
      const bfloat16 value(float_from_bits(0x7f800000u | payload | sign));
      REQUIRE(std::isnan(static_cast<float>(value)));
    }
  }
  CHECK(std::isinf(static_cast<float>(bfloat16(std::numeric_limits<float>::infinity()))));
  CHECK(std::isinf(static_cast<float>(bfloat16(std::numeric_limits<float>::max()))));
}

TEST_CASE("bf16: converts from every element type") {
  CHECK(static_cast<float>(bfloat16(1.5)) == 1.5f);
  CHECK(static_cast<float>(bfloat16(true)) == 1.0f);
  CHECK(static_cast<float>(bfloat16(std::int32_t{-3})) == -3.0f);
  CHECK(static_cast<float>(bfloat16(std::int64_t{257})) == 256.0f);  // 257 needs nine bits
}
