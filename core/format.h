#pragma once
// Internal: the one header that brings in fmt. Included by .cpp files only, never installed.
#include <scangrad/core/device.h>
#include <scangrad/core/dtype.h>
#include <scangrad/core/error.h>
#include <scangrad/core/shape.h>

#include <fmt/format.h>

#include <string_view>
#include <utility>

template <>
struct fmt::formatter<scangrad::Shape> : fmt::formatter<std::string_view> {
  template <class Context>
  auto format(const scangrad::Shape& shape, Context& context) const {
    return fmt::formatter<std::string_view>::format(scangrad::to_string(shape), context);
  }
};
template <>
struct fmt::formatter<scangrad::DType> : fmt::formatter<std::string_view> {
  template <class Context>
  auto format(scangrad::DType dtype, Context& context) const {
    return fmt::formatter<std::string_view>::format(scangrad::name(dtype), context);
  }
};
template <>
struct fmt::formatter<scangrad::Device> : fmt::formatter<std::string_view> {
  template <class Context>
  auto format(const scangrad::Device& device, Context& context) const {
    return fmt::formatter<std::string_view>::format(scangrad::to_string(device), context);
  }
};

namespace scangrad {

template <class E = Error, class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> message, Args&&... args) {
  throw E(fmt::format(message, std::forward<Args>(args)...));
}

/// Throws E with the formatted message unless `ok`.
template <class E = Error, class... Args>
void check(bool ok, fmt::format_string<Args...> message, Args&&... args) {
  if (!ok) throw E(fmt::format(message, std::forward<Args>(args)...));
}

}  // namespace scangrad
