#include <scangrad/core/error.h>
#include <scangrad/models/module.h>
#include <scangrad/tests/support/catch.h>

using namespace scangrad;

namespace {

struct Leaf : Module {
  explicit Leaf(double value) : weight(full({2, 3}, value)) {
    register_parameter("weight", weight);
  }
  Tensor weight;
};

struct Pair : Module {
  Pair() : scale(ones({4})), first(1), second(2) {
    register_module("h.0", first);
    register_parameter("scale", scale);
    register_module("h.1", second);
  }
  Tensor scale;
  Leaf first, second;
};

std::vector<std::string> names_of(const NamedTensors& tensors) {
  std::vector<std::string> names;
  for (const NamedTensor& entry : tensors) names.push_back(entry.name);
  return names;
}

}  // namespace

TEST_CASE("parameters come in the order of registration under dotted names",
          "[the optimizer's state and checkpoints rely on names and order]") {
  Pair pair;
  CHECK(names_of(pair.named_parameters()) ==
        std::vector<std::string>{"h.0.weight", "scale", "h.1.weight"});
  CHECK(pair.parameter_count() == 6 + 4 + 6);
  for (const NamedTensor& entry : pair.named_parameters()) CHECK(entry.tensor.requires_grad());
}

TEST_CASE("a name registered twice is refused", "[one of the two would be lost in a checkpoint]") {
  struct Twice : Module {
    Twice() : weight(ones({1})) {
      register_parameter("weight", weight);
      register_parameter("weight", weight);
    }
    Tensor weight;
  };
  CHECK_THROWS_WITH(Twice(), ContainsSubstring("weight is registered twice"));
}

TEST_CASE("state_dict into another module makes it the same", "[how checkpoints restore]") {
  Pair from, into;
  from.first.weight = full({2, 3}, 7);
  const LoadResult result = into.load_state_dict(from.state_dict());
  CHECK(result.missing.empty());
  CHECK(result.unexpected.empty());
  CHECK(into.first.weight.to_vector<float>() == std::vector<float>(6, 7));
  CHECK(into.first.weight.requires_grad());
  CHECK_FALSE(from.state_dict()[0].tensor.requires_grad());
}

TEST_CASE("loading converts the dtype", "[a float64 file serves a float32 model]") {
  Pair pair;
  NamedTensors state = pair.state_dict();
  state[1].tensor = full({4}, 0.5, {.dtype = DType::f64});
  pair.load_state_dict(state);
  CHECK(pair.scale.dtype() == DType::f32);
  CHECK(pair.scale.to_vector<double>() == std::vector<double>(4, 0.5));
}

TEST_CASE("what is not floating-point is refused by name", "[a mask or an index is no weight]") {
  Pair pair;
  for (const DType dtype : {DType::bool_, DType::i32, DType::i64}) {
    NamedTensors state = pair.state_dict();
    state[1].tensor = ones({4}, {.dtype = dtype});
    state[0].tensor = full({2, 3}, 9);
    CHECK_THROWS_AS(pair.load_state_dict(state), DTypeError);
    CHECK_THROWS_WITH(pair.load_state_dict(state), ContainsSubstring("scale is "));
    CHECK(pair.first.weight.to_vector<float>() != std::vector<float>(6, 9));
  }
}

TEST_CASE("a strict load that does not match names every difference and changes nothing",
          "[a wrong file must not spoil a model]") {
  Pair pair;
  const NamedTensors state = {{"scale", full({4}, 9)}, {"other", ones({1})}};
  CHECK_THROWS_WITH(pair.load_state_dict(state),
                    ContainsSubstring("missing: h.0.weight, h.1.weight; unexpected: other"));
  CHECK(pair.scale.to_vector<float>() == std::vector<float>(4, 1));
}

TEST_CASE("a partial load reports the names and keeps what is missing",
          "[fine-tuning takes part of another model]") {
  Pair pair;
  const NamedTensors state = {{"scale", full({4}, 9)}, {"other", ones({1})}};
  const LoadResult result = pair.load_state_dict(state, {.strict = false});
  CHECK(result.missing == std::vector<std::string>{"h.0.weight", "h.1.weight"});
  CHECK(result.unexpected == std::vector<std::string>{"other"});
  CHECK(pair.scale.to_vector<float>() == std::vector<float>(4, 9));
  CHECK(pair.second.weight.to_vector<float>() == std::vector<float>(6, 2));
}

TEST_CASE("a tensor of another shape is refused by name, even in a partial load",
          "[nothing may be loaded halfway]") {
  Pair pair;
  const NamedTensors state = {{"scale", full({4}, 9)}, {"h.1.weight", ones({3, 2})}};
  CHECK_THROWS_AS(pair.load_state_dict(state, {.strict = false}), ShapeError);
  CHECK_THROWS_WITH(pair.load_state_dict(state, {.strict = false}),
                    ContainsSubstring("h.1.weight has shape [3,2] in the state and [2,3]"));
  CHECK(pair.scale.to_vector<float>() == std::vector<float>(4, 1));
}

TEST_CASE("a state that holds a name twice is refused", "[which of the two would be meant?]") {
  Pair pair;
  NamedTensors state = pair.state_dict();
  state.push_back(state.front());
  CHECK_THROWS_WITH(pair.load_state_dict(state), ContainsSubstring("h.0.weight twice"));
}

TEST_CASE("train and eval reach every module within", "[dropout in a deep layer obeys too]") {
  Pair pair;
  CHECK(pair.is_training());
  pair.eval();
  CHECK_FALSE(pair.is_training());
  CHECK_FALSE(pair.second.is_training());
  pair.train();
  CHECK(pair.second.is_training());
}

TEST_CASE("freezing stops gradients, and unfreezing brings them back", "[fine-tuning]") {
  Pair pair;
  pair.first.freeze();
  CHECK_FALSE(pair.first.weight.requires_grad());
  CHECK(pair.second.weight.requires_grad());
  pair.to(DType::f64);
  CHECK_FALSE(pair.first.weight.requires_grad());  // a conversion keeps what was frozen
  pair.first.freeze(false);
  CHECK(pair.first.weight.requires_grad());
}

TEST_CASE("to(dtype) converts every parameter, which stays a leaf", "[double precision tests]") {
  Pair pair;
  pair.to(DType::f64);
  for (const NamedTensor& entry : pair.named_parameters()) {
    CHECK(entry.tensor.dtype() == DType::f64);
    CHECK(entry.tensor.requires_grad());
    CHECK(entry.tensor.is_leaf());
  }
  CHECK(pair.second.weight.to_vector<float>() == std::vector<float>(6, 2));
  CHECK_THROWS_WITH(pair.to(DType::i64), ContainsSubstring("parameters cannot be i64"));
}
