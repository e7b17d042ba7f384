#include <scangrad/autograd/grad_mode.h>
#include <scangrad/core/format.h>
#include <scangrad/models/module.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/shape.h>

#include <fmt/ranges.h>

#include <map>
#include <set>

namespace scangrad {

template <class Visit>
void Module::for_each_parameter(const std::string& prefix, const Visit& visit) const {
  for (const Entry& entry : entries_) {
    if (entry.parameter != nullptr) {
      visit(prefix + entry.name, *entry.parameter);
    } else {
      entry.module->for_each_parameter(prefix + entry.name + ".", visit);
    }
  }
}

NamedTensors Module::named_parameters() const {
  NamedTensors result;
  for_each_parameter("", [&](const std::string& name, const Tensor& parameter) {
    result.push_back({name, parameter});
  });
  return result;
}

std::int64_t Module::parameter_count() const {
  std::int64_t count = 0;
  for_each_parameter("", [&](const std::string&, const Tensor& p) { count += p.numel(); });
  return count;
}

NamedTensors Module::state_dict() const {
  NamedTensors state = named_parameters();
  for (NamedTensor& entry : state) entry.tensor = entry.tensor.detach();
  return state;
}

LoadResult Module::differences(const NamedTensors& state) const {
  const NamedTensors parameters = named_parameters();
  const auto names_beyond = [](const NamedTensors& all, const NamedTensors& known) {
    std::set<std::string> names;
    for (const NamedTensor& entry : known) names.insert(entry.name);
    std::vector<std::string> beyond;
    for (const NamedTensor& entry : all) {
      if (!names.contains(entry.name)) beyond.push_back(entry.name);
    }
    return beyond;
  };
  return {names_beyond(parameters, state), names_beyond(state, parameters)};
}

LoadResult Module::load_state_dict(const NamedTensors& state, const LoadOptions& options) {
  std::map<std::string, Tensor> given;
  for (const NamedTensor& entry : state) {
    check<ValueError>(given.emplace(entry.name, entry.tensor).second,
                      "load_state_dict: the state holds {} twice", entry.name);
  }
  NamedTensors matched;
  for (NamedTensor& entry : named_parameters()) {
    const auto found = given.find(entry.name);
    if (found == given.end()) continue;
    check<ShapeError>(found->second.shape() == entry.tensor.shape(),
                      "load_state_dict: {} has shape {} in the state and {} in the module",
                      entry.name, found->second.shape(), entry.tensor.shape());
    check<DTypeError>(is_floating(found->second.dtype()),
                      "load_state_dict: {} is {} in the state, but parameters are floating-point",
                      entry.name, found->second.dtype());
    matched.push_back(std::move(entry));
  }
  const LoadResult result = differences(state);
  const auto listed = [](const std::vector<std::string>& names) {
    return names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", "));
  };
  check<ValueError>(!options.strict || (result.missing.empty() && result.unexpected.empty()),
                    "load_state_dict: the state does not match the module (missing: {}; "
                    "unexpected: {}); load with strict = false to keep what is missing as it is",
                    listed(result.missing), listed(result.unexpected));
  const auto guard = no_grad();
  for (NamedTensor& entry : matched) copy_(entry.tensor, given[entry.name]);
  return result;
}

void Module::train(bool training) {
  training_ = training;
  for (const Entry& entry : entries_) {
    if (entry.module != nullptr) entry.module->train(training);
  }
}

void Module::to(Device device) {
  for_each_parameter("", [&](const std::string&, Tensor& parameter) {
    const bool wanted = parameter.requires_grad();
    parameter = scangrad::to(parameter.detach(), device).requires_grad_(wanted);
  });
}

void Module::to(DType dtype) {
  check<DTypeError>(is_floating(dtype), "to: parameters cannot be {}", dtype);
  for_each_parameter("", [&](const std::string&, Tensor& parameter) {
    const bool wanted = parameter.requires_grad();
    parameter = cast(parameter.detach(), dtype).requires_grad_(wanted);
  });
}

void Module::to(const TensorOptions& options) {
  to(options.dtype);
  to(options.device);
}

void Module::freeze(bool frozen) {
  for_each_parameter(
      "", [&](const std::string&, Tensor& parameter) { parameter.requires_grad_(!frozen); });
}

void Module::add(Entry entry) {
  for (const Entry& other : entries_) {
    check<ValueError>(other.name != entry.name, "Module: {} is registered twice", entry.name);
  }
  entries_.push_back(std::move(entry));
}

void Module::register_parameter(const std::string& name, Tensor& member) {
  member.requires_grad_(true);
  add({name, &member, nullptr});
}

void Module::register_module(const std::string& name, Module& member) {
  add({name, nullptr, &member});
}

}  // namespace scangrad
