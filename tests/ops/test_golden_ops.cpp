// Single operations with subtle semantics (ties, zeros, infinities, ignored targets) against
// PyTorch's values and gradients: tests/golden/README.md says what the file holds.
#include <scangrad/autograd/engine.h>
#include <scangrad/ops/attention.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/index.h>
#include <scangrad/ops/join.h>
#include <scangrad/ops/linalg.h>
#include <scangrad/ops/loss.h>
#include <scangrad/ops/matmul.h>
#include <scangrad/ops/norm.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/ops/scan.h>
#include <scangrad/ops/shape.h>
#include <scangrad/ops/softmax.h>
#include <scangrad/tests/support/catch.h>
#include <scangrad/train/safetensors.h>

#include <nlohmann/json.hpp>

#include <cmath>
#include <functional>
#include <map>
#include <string>

namespace sg = scangrad;
using nlohmann::json;
using sg::Tensor;
using sg::Tensors;

namespace {

/// What PyTorch was given and what came out.
struct Case {
  std::string name;  // op.case
  json arguments;
  std::map<std::string, Tensor> tensors;  // in0, …, out, out1, grad_out, grad0, …

  std::string op() const { return name.substr(0, name.find('.')); }
  bool has(const std::string& tensor) const { return tensors.count(tensor) > 0; }
};

std::vector<Case> read_cases() {
  const auto file =
      sg::load_safetensors(std::string(SCANGRAD_SOURCE_DIR) + "/tests/golden/ops.safetensors");
  const json all = json::parse(file.metadata.at("cases"));
  std::vector<Case> cases;
  for (const auto& [name, arguments] : all.items()) {
    Case c{name, arguments, {}};
    for (const sg::NamedTensor& entry : file.tensors) {
      if (entry.name.compare(0, name.size() + 1, name + ".") == 0) {
        c.tensors[entry.name.substr(name.size() + 1)] = entry.tensor;
      }
    }
    cases.push_back(std::move(c));
  }
  return cases;
}

/// `dim` as a list, which PyTorch writes as a number where it is one; empty for all dimensions.
sg::Dims dims_of(const json& arguments) {
  if (!arguments.contains("dim")) return {};
  const json& dim = arguments.at("dim");
  return dim.is_array() ? dim.get<sg::Dims>() : sg::Dims{dim.get<std::int64_t>()};
}

std::int64_t dim_of(const json& arguments) { return arguments.at("dim"); }

Tensors both(const sg::ValuesIndices& result) { return {result.values, result.indices}; }

using Call = std::function<Tensors(const Tensors& in, const json& arguments)>;
using Calls = std::map<std::string, Call>;

void add_elementwise(Calls& calls) {
  calls["gelu"] = [](const Tensors& in, const json& arguments) {
    const bool exact = arguments.at("approximate") == "none";
    return Tensors{sg::gelu(in[0], exact ? sg::Gelu::erf : sg::Gelu::tanh)};
  };
  calls["silu"] = [](const Tensors& in, const json&) { return Tensors{sg::silu(in[0])}; };
  calls["softplus"] = [](const Tensors& in, const json& arguments) {
    const double beta = arguments.value("beta", 1.0);
    const Tensor y = sg::softplus(in[0], beta);
    if (!arguments.contains("threshold")) return Tensors{y};
    // PyTorch's is linear above a threshold, ours exact everywhere.
    return Tensors{sg::where(sg::gt(in[0] * beta, arguments.at("threshold")), in[0], y)};
  };
  calls["elu"] = [](const Tensors& in, const json& arguments) {
    return Tensors{sg::elu(in[0], arguments.at("alpha"))};
  };
  calls["relu"] = [](const Tensors& in, const json&) { return Tensors{sg::relu(in[0])}; };
  calls["abs"] = [](const Tensors& in, const json&) { return Tensors{sg::abs(in[0])}; };
  calls["clamp"] = [](const Tensors& in, const json& arguments) {
    return Tensors{sg::clamp(in[0], arguments.at("min"), arguments.at("max"))};
  };
  calls["pow"] = [](const Tensors& in, const json& arguments) {
    if (in.size() == 2) return Tensors{sg::pow(in[0], in[1])};
    return Tensors{sg::pow(in[0], arguments.at("exponent").get<double>())};
  };
  calls["maximum"] = [](const Tensors& in, const json&) {
    return Tensors{sg::maximum(in[0], in[1])};
  };
  calls["minimum"] = [](const Tensors& in, const json&) {
    return Tensors{sg::minimum(in[0], in[1])};
  };
  calls["matmul"] = [](const Tensors& in, const json&) {
    return Tensors{sg::matmul(in[0], in[1])};
  };
}

void add_reductions(Calls& calls) {
  calls["amax"] = [](const Tensors& in, const json& arguments) {
    return Tensors{sg::amax(in[0], dims_of(arguments))};
  };
  calls["amin"] = [](const Tensors& in, const json& arguments) {
    return Tensors{sg::amin(in[0], dims_of(arguments))};
  };
  calls["max"] = [](const Tensors& in, const json& arguments) {
    return arguments.contains("dim") ? both(sg::max(in[0], dim_of(arguments)))
                                     : Tensors{sg::max(in[0])};
  };
  calls["min"] = [](const Tensors& in, const json& arguments) {
    return arguments.contains("dim") ? both(sg::min(in[0], dim_of(arguments)))
                                     : Tensors{sg::min(in[0])};
  };
  calls["argmax"] = [](const Tensors& in, const json& arguments) {
    return Tensors{sg::argmax(in[0], dim_of(arguments))};
  };
  calls["var"] = [](const Tensors& in, const json& arguments) {
    return Tensors{sg::var(in[0], dims_of(arguments), arguments.at("unbiased") ? 1 : 0,
                           arguments.value("keepdim", false))};
  };
  calls["logsumexp"] = [](const Tensors& in, const json& arguments) {
    return Tensors{sg::logsumexp(in[0], dims_of(arguments))};
  };
  calls["norm"] = [](const Tensors& in, const json& arguments) {
    return Tensors{sg::norm(in[0], arguments.at("ord").get<double>(), dims_of(arguments))};
  };
}

void add_normalisation_and_loss(Calls& calls) {
  calls["layer_norm"] = [](const Tensors& in, const json& arguments) {
    const Tensor weight = in.size() > 1 ? in[1] : Tensor{}, bias = in.size() > 2 ? in[2] : Tensor{};
    return Tensors{sg::layer_norm(in[0], weight, bias, arguments.at("eps"))};
  };
  calls["rms_norm"] = [](const Tensors& in, const json& arguments) {
    return Tensors{sg::rms_norm(in[0], in.size() > 1 ? in[1] : Tensor{}, arguments.at("eps"))};
  };
  calls["softmax"] = [](const Tensors& in, const json& arguments) {
    return Tensors{sg::softmax(in[0], dim_of(arguments))};
  };
  calls["log_softmax"] = [](const Tensors& in, const json& arguments) {
    return Tensors{sg::log_softmax(in[0], dim_of(arguments))};
  };
  calls["cross_entropy"] = [](const Tensors& in, const json& arguments) {
    const std::map<std::string, sg::Reduction> reductions = {
        {"none", sg::Reduction::none}, {"mean", sg::Reduction::mean}, {"sum", sg::Reduction::sum}};
    return Tensors{
        sg::cross_entropy(in[0], in[1],
                          {.ignore_index = arguments.value("ignore_index", std::int64_t{-100}),
                           .label_smoothing = arguments.value("label_smoothing", 0.0),
                           .reduction = reductions.at(arguments.value("reduction", "mean"))})};
  };
}

void add_indexing(Calls& calls) {
  calls["scatter_add"] = [](const Tensors& in, const json& arguments) {
    return Tensors{sg::scatter_add(in[0], dim_of(arguments), in[1], in[2])};
  };
  calls["gather"] = [](const Tensors& in, const json& arguments) {
    return Tensors{sg::gather(in[0], dim_of(arguments), in[1])};
  };
  calls["index_select"] = [](const Tensors& in, const json& arguments) {
    return Tensors{sg::index_select(in[0], dim_of(arguments), in[1])};
  };
  calls["embedding"] = [](const Tensors& in, const json&) {
    return Tensors{sg::embedding(in[1], in[0])};  // PyTorch's cases put the weight first
  };
  calls["sort"] = [](const Tensors& in, const json& arguments) {
    return both(sg::sort(in[0], dim_of(arguments), arguments.value("descending", false)));
  };
  calls["topk"] = [](const Tensors& in, const json& arguments) {
    return both(
        sg::topk(in[0], arguments.at("k"), dim_of(arguments), arguments.value("largest", true)));
  };
}

void add_scans(Calls& calls) {
  calls["cumsum"] = [](const Tensors& in, const json& arguments) {
    return Tensors{sg::cumsum(in[0], dim_of(arguments))};
  };
  calls["cumprod"] = [](const Tensors& in, const json& arguments) {
    return Tensors{sg::cumprod(in[0], dim_of(arguments))};
  };
  calls["cummax"] = [](const Tensors& in, const json& arguments) {
    return both(sg::cummax(in[0], dim_of(arguments)));
  };
  calls["cummin"] = [](const Tensors& in, const json& arguments) {
    return both(sg::cummin(in[0], dim_of(arguments)));
  };
  calls["logcumsumexp"] = [](const Tensors& in, const json& arguments) {
    return Tensors{sg::logcumsumexp(in[0], dim_of(arguments))};
  };
}

void add_attention_and_algebra(Calls& calls) {
  calls["scaled_dot_product_attention"] = [](const Tensors& in, const json& arguments) {
    return Tensors{sg::scaled_dot_product_attention(
        in[0], in[1], in[2],
        {.causal = arguments.value("is_causal", false), .mask = in.size() > 3 ? in[3] : Tensor{}})};
  };
  calls["pad"] = [](const Tensors& in, const json& arguments) {
    return Tensors{sg::pad(in[0], arguments.at("pad").get<std::vector<std::int64_t>>(),
                           arguments.value("value", 0.0))};
  };
  calls["repeat_interleave"] = [](const Tensors& in, const json& arguments) {
    const std::int64_t dim = dim_of(arguments);  // no operation of ours: each entry, repeated
    std::vector<std::int64_t> counts(static_cast<std::size_t>(in[0].rank()) + 1, 1);
    counts[static_cast<std::size_t>(dim) + 1] = arguments.at("repeats");
    return Tensors{sg::flatten(sg::repeat(sg::unsqueeze(in[0], dim + 1), counts), dim, dim + 1)};
  };
  calls["solve"] = [](const Tensors& in, const json&) { return Tensors{sg::solve(in[0], in[1])}; };
}

Calls all_calls() {
  Calls calls;
  add_attention_and_algebra(calls);
  add_elementwise(calls);
  add_reductions(calls);
  add_normalisation_and_loss(calls);
  add_indexing(calls);
  add_scans(calls);
  return calls;
}

void check_close(const Tensor& got, const Tensor& expected) {
  CHECK(got.shape() == expected.shape());
  if (got.shape() != expected.shape()) return;
  const auto a = got.to_vector<double>(), b = expected.to_vector<double>();
  for (std::size_t i = 0; i < a.size(); ++i) {
    INFO("element " << i << ": " << a[i] << ", PyTorch has " << b[i]);
    const bool same = a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i]));
    CHECK((same || std::abs(a[i] - b[i]) <= 1e-12 + 1e-10 * std::abs(b[i])));
  }
}

}  // namespace

TEST_CASE("values and gradients at the subtle points are PyTorch's") {
  const Calls calls = all_calls();
  const std::vector<Case> cases = read_cases();
  REQUIRE(cases.size() >= 81);  // none is left out
  for (const Case& c : cases) {
    INFO(c.name);
    const auto call = calls.find(c.op());
    if (call == calls.end()) {
      FAIL_CHECK("no call for " << c.op());
      continue;
    }
    Tensors in;
    for (int i = 0; c.has("in" + std::to_string(i)); ++i) {
      Tensor x = c.tensors.at("in" + std::to_string(i)).detach();
      x.requires_grad_(c.has("grad" + std::to_string(i)));
      in.push_back(x);
    }
    const Tensors out = call->second(in, c.arguments);
    check_close(out[0], c.tensors.at("out"));
    if (c.has("out1")) check_close(out.at(1), c.tensors.at("out1"));
    if (c.has("grad_out")) {
      sg::backward(out[0], c.tensors.at("grad_out"));
      for (std::size_t i = 0; i < in.size(); ++i) {
        if (!in[i].requires_grad()) continue;
        INFO("gradient of input " << i);
        REQUIRE(in[i].grad().defined());
        check_close(in[i].grad(), c.tensors.at("grad" + std::to_string(i)));
      }
    }
  }
}
