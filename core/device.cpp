#include <scangrad/core/device.h>
#include <scangrad/core/format.h>

#include <charconv>

namespace scangrad {

Device Device::parse(const std::string& text) {
  if (text == "cpu") return cpu();
  if (text == "cuda") return cuda();
  if (text.starts_with("cuda:")) {
    int index = -1;
    const char* end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data() + 5, end, index);
    if (error == std::errc{} && rest == end && index >= 0) return cuda(index);
  }
  fail<ValueError>("device: '{}' is not a device; use cpu, cuda or cuda:N", text);
}

std::string to_string(const Device& device) {
  return device.is_cpu() ? "cpu" : fmt::format("cuda:{}", device.index);
}

}  // namespace scangrad
