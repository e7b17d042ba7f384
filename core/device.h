#pragma once
#include <cstdint>
#include <string>

namespace scangrad {

/// Where a tensor's memory lives.
struct Device {
  enum class Type : std::uint8_t { cpu, cuda };
  Type type = Type::cpu;
  int index = 0;

  static Device cpu() { return {}; }
  static Device cuda(int index = 0) { return {Type::cuda, index}; }
  /// `cpu`, `cuda`, `cuda:1`. Throws ValueError for anything else.
  static Device parse(const std::string& text);

  bool is_cpu() const { return type == Type::cpu; }
  bool is_cuda() const { return type == Type::cuda; }
  bool operator==(const Device& other) const = default;
};

/// `cpu`, `cuda:0`.
std::string to_string(const Device& device);

}  // namespace scangrad
