#include <scangrad/core/format.h>
#include <scangrad/train/param_groups.h>

#include <cmath>
#include <map>
#include <string>

namespace scangrad {
namespace {

constexpr std::string_view w_in_suffix = ".mru.w_in.weight";
constexpr std::string_view w_pos_suffix = ".positions.w_pos.weight";

/// d_o of the MRU whose input map is called `w_in`.
std::int64_t mru_order(const NamedTensors& parameters, const std::string& w_in) {
  const std::string w_down =
      w_in.substr(0, w_in.size() - std::string_view("w_in.weight").size()) + "w_down";
  for (const auto& [name, tensor] : parameters) {
    if (name == w_down && tensor.rank() == 3) return tensor.size(1);
  }
  fail<ValueError>("parameter groups: '{}' has no '{}' beside it", w_in, w_down);
}

/// The order of the matrices that this parameter makes and a scan multiplies; 0 for any other.
std::int64_t scanned_order(const NamedTensors& parameters, const NamedTensor& parameter) {
  if (parameter.name.ends_with(w_in_suffix)) return mru_order(parameters, parameter.name);
  if (!parameter.name.ends_with(w_pos_suffix)) return 0;
  // (width/n · n(n − 1)/2, width)
  return 2 * parameter.tensor.size(0) / parameter.tensor.size(1) + 1;
}

bool is_embedding_or_norm(const NamedTensor& parameter) {
  return parameter.tensor.rank() < 2 || parameter.name.ends_with("wte.weight") ||
         parameter.name.ends_with("wpe.weight");
}

}  // namespace

std::vector<ParameterGroup> language_model_groups(const NamedTensors& parameters,
                                                  const GroupOptions& options) {
  ParameterGroup plain{"embeddings_and_norms", {}, 1.0, 0.0, options.clip};
  ParameterGroup matrices{"matrices", {}, 1.0, options.weight_decay, options.clip};
  std::map<std::int64_t, ParameterGroup> w_in;  // by order: models may mix them
  for (const NamedTensor& parameter : parameters) {
    const std::int64_t order = scanned_order(parameters, parameter);
    if (order > 0) {
      check<ValueError>(options.context > 0,
                        "parameter groups: the context length is needed for '{}'", parameter.name);
      const auto length = static_cast<double>(options.context);
      const double scale = options.w_in_rate / static_cast<double>(order) * std::sqrt(2.0 / length);
      const double clip = options.clip > 0 ? std::sqrt(length / 2) : 0.0;
      auto [group, made] =
          w_in.try_emplace(order, ParameterGroup{"w_in", {}, scale, options.weight_decay, clip});
      group->second.parameters.push_back(parameter);
    } else {
      (is_embedding_or_norm(parameter) ? plain : matrices).parameters.push_back(parameter);
    }
  }
  std::vector<ParameterGroup> groups;
  if (!plain.parameters.empty()) groups.push_back(std::move(plain));
  if (!matrices.parameters.empty()) groups.push_back(std::move(matrices));
  for (auto& [order, group] : w_in) groups.push_back(std::move(group));
  return groups;
}

}  // namespace scangrad
