#include <scangrad/autograd/grad_mode.h>
#include <scangrad/core/backend.h>
#include <scangrad/core/format.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/optimizer.h>
#include <scangrad/ops/shape.h>
#include <scangrad/train/optimizer.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <map>
#include <set>
#include <utility>

namespace scangrad {
namespace {

/// One buffer of zeros and a view of it for each parameter, contiguous and aligned to 64 bytes.
std::pair<Tensor, Tensors> flat_buffer(const Tensors& parameters, DType dtype) {
  const std::int64_t unit = 64 / static_cast<std::int64_t>(size_of(dtype));
  std::int64_t total = 0;
  std::vector<std::int64_t> starts;
  for (const Tensor& parameter : parameters) {
    starts.push_back(total);
    total += (parameter.numel() + unit - 1) / unit * unit;
  }
  const Device device = parameters.empty() ? Device() : parameters[0].device();
  const Tensor buffer = zeros({total}, {dtype, device});
  Tensors views;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const Shape& shape = parameters[i].shape();
    views.push_back(buffer.as_strided(shape, contiguous_strides(shape), starts[i]));
  }
  return {buffer, std::move(views)};
}

/// Throws where two parameters, under whatever names, share memory: it would be updated twice.
void check_distinct(NamedTensors parameters) {
  const auto begin = [](const NamedTensor& p) {
    return static_cast<std::byte*>(p.tensor.raw_data());
  };
  std::sort(parameters.begin(), parameters.end(), [&](const NamedTensor& a, const NamedTensor& b) {
    return std::less<>()(begin(a), begin(b));
  });
  for (std::size_t i = 1; i < parameters.size(); ++i) {
    const NamedTensor &before = parameters[i - 1], &next = parameters[i];
    const auto bytes =
        static_cast<std::size_t>(before.tensor.numel()) * size_of(before.tensor.dtype());
    check<ValueError>(!std::less<>()(begin(next), begin(before) + bytes),
                      "optimizer: parameters '{}' and '{}' share memory; give one of them",
                      before.name, next.name);
  }
}

/// Throws unless the groups' parameters can be updated together, each once.
void check_groups(const std::vector<ParameterGroup>& groups) {
  std::set<std::string> names;
  NamedTensors updated;
  for (const ParameterGroup& group : groups) {
    for (const auto& [name, parameter] : group.parameters) {
      const Tensor& first = group.parameters[0].tensor;
      check<ValueError>(names.insert(name).second, "optimizer: parameter '{}' is given twice",
                        name);
      check<DTypeError>(is_floating(parameter.dtype()) && parameter.dtype() == first.dtype(),
                        "optimizer: group '{}' mixes {} and {}; make a group of each", group.name,
                        first.dtype(), parameter.dtype());
      check<ValueError>(parameter.is_leaf() && parameter.is_contiguous(),
                        "optimizer: parameter '{}' is not a contiguous leaf tensor", name);
      if (!parameter.requires_grad() || parameter.numel() == 0) continue;
      updated.push_back({name, parameter});
      const Device device = updated[0].tensor.device();
      check<DeviceError>(parameter.device() == device,
                         "optimizer: parameter '{}' is on {} and '{}' on {}; move them together",
                         updated[0].name, device, name, parameter.device());
    }
  }
  check_distinct(std::move(updated));
}

}  // namespace

Optimizer::Optimizer(std::vector<ParameterGroup> groups, std::vector<std::string> moment_names)
    : moment_names_(std::move(moment_names)) {
  check_groups(groups);
  for (ParameterGroup& options : groups) {
    std::erase_if(options.parameters, [](const NamedTensor& p) {
      return !p.tensor.requires_grad() || p.tensor.numel() == 0;
    });
    if (options.parameters.empty()) continue;
    Group group;
    for (const NamedTensor& named : options.parameters) group.parameters.push_back(named.tensor);
    const DType dtype = group.parameters[0].dtype();
    const DType moment_dtype = dtype == DType::bf16 ? DType::f32 : dtype;
    std::tie(group.bucket, group.gradients) = flat_buffer(group.parameters, dtype);
    for (std::size_t k = 0; k < moment_names_.size(); ++k) {
      group.moments.push_back(flat_buffer(group.parameters, moment_dtype).second);
    }
    group.options = std::move(options);
    groups_.push_back(std::move(group));
  }
  const auto count = static_cast<std::int64_t>(groups_.size());
  const Device device = groups_.empty() ? Device() : groups_[0].bucket.device();
  steps_ = zeros({}, {DType::i64, device});
  norms_ = zeros({count}, {DType::f64, device});
  control_ = zeros({count, 3}, {DType::f64, device});
  std::vector<double> clips;
  for (std::int64_t i = 0; i < count; ++i) {
    Group& group = groups_[static_cast<std::size_t>(i)];
    group.norm = select(norms_, 0, i);
    group.control = select(control_, 0, i);
    const double clip = group.options.clip;
    clips.push_back(clip > 0 ? clip : std::numeric_limits<double>::infinity());
  }
  clips_ = from<double>(clips, {count}, device);
  zero_grad();
}

void Optimizer::zero_grad() {
  for (Group& group : groups_) {
    zero_(group.bucket);
    for (std::size_t i = 0; i < group.parameters.size(); ++i) {
      group.parameters[i].set_grad(group.gradients[i]);
    }
  }
}

void Optimizer::set_learning_rate(double rate) {
  backend(control_.device()).fill(select(control_, 1, 0), rate);
}

void Optimizer::step(double learning_rate) {
  set_learning_rate(learning_rate);
  step();
}

void Optimizer::step() {
  const auto guard = no_grad();
  for (Group& group : groups_) {
    for (std::size_t i = 0; i < group.parameters.size(); ++i) {
      const Tensor grad = group.parameters[i].grad();
      if (grad.impl() == group.gradients[i].impl()) continue;
      // Somebody has set another gradient, or none.
      if (grad.defined()) {
        copy_(group.gradients[i], grad);
      } else {
        zero_(group.gradients[i]);
      }
      group.parameters[i].set_grad(group.gradients[i]);
    }
    l2_norm(group.norm, group.bucket);
  }
  add_(steps_, ones({}, steps_.options()));
  Tensor steps = select(control_, 1, 1), factors = select(control_, 1, 2);
  copy_(steps, steps_);
  copy_(factors, clamp(clips_ / (norms_ + 1e-6), 0, 1));
  for (Group& group : groups_) update(group);
}

std::vector<double> Optimizer::gradient_norms() const { return norms_.to_vector<double>(); }

NamedTensors Optimizer::state_dict() const {
  NamedTensors state = {{"step", steps_}};
  for (const Group& group : groups_) {
    for (std::size_t i = 0; i < group.parameters.size(); ++i) {
      for (std::size_t k = 0; k < moment_names_.size(); ++k) {
        state.push_back(
            {group.options.parameters[i].name + "." + moment_names_[k], group.moments[k][i]});
      }
    }
  }
  return state;
}

void Optimizer::load_state_dict(const NamedTensors& state) {
  std::map<std::string, Tensor> given;
  for (const auto& [name, tensor] : state) given[name] = tensor;
  const NamedTensors own = state_dict();
  for (const auto& [name, tensor] : own) {
    const auto found = given.find(name);
    check<ValueError>(found != given.end(), "optimizer: the state has no '{}'", name);
    check<ShapeError>(found->second.shape() == tensor.shape(),
                      "optimizer: the state's '{}' is {}, but {} is needed", name,
                      found->second.shape(), tensor.shape());
  }
  check<ValueError>(given.size() == own.size(),
                    "optimizer: the state has {} tensors, but {} are needed: it belongs to another "
                    "model or optimizer",
                    given.size(), own.size());
  for (const auto& [name, tensor] : own) raw_copy(tensor, given[name]);
}

AdamW::AdamW(std::vector<ParameterGroup> groups, const AdamWOptions& options)
    : Optimizer(std::move(groups), {"exp_avg", "exp_avg_sq"}), options_(options) {
  check<ValueError>(options.beta1 >= 0 && options.beta1 < 1 && options.beta2 >= 0 &&
                        options.beta2 < 1 && options.eps >= 0,
                    "adamw: betas {} and {} must lie in [0, 1), and eps {} above 0", options.beta1,
                    options.beta2, options.eps);
}

void AdamW::update(Group& group) {
  adamw_step(group.parameters, group.gradients, group.moments[0], group.moments[1], group.control,
             {options_.beta1, options_.beta2, options_.eps, group.options.weight_decay,
              group.options.learning_rate_scale});
}

Sgd::Sgd(std::vector<ParameterGroup> groups, const SgdOptions& options)
    : Optimizer(std::move(groups), options.momentum != 0
                                       ? std::vector<std::string>{"momentum_buffer"}
                                       : std::vector<std::string>{}),
      options_(options) {
  check<ValueError>(options.momentum >= 0 && (!options.nesterov || options.momentum > 0),
                    "sgd: momentum {} must not be negative, and above 0 for nesterov",
                    options.momentum);
}

void Sgd::update(Group& group) {
  sgd_step(group.parameters, group.gradients, group.moments.empty() ? Tensors{} : group.moments[0],
           group.control,
           {options_.momentum, options_.nesterov, group.options.weight_decay,
            group.options.learning_rate_scale});
}

}  // namespace scangrad
