#pragma once
#include <scangrad/core/named_tensor.h>
#include <scangrad/models/language_model.h>

#include <filesystem>

// GPT-2 (Radford et al. 2019) in Hugging Face's files: FOLDER/config.json and
// FOLDER/model.safetensors. There, layer i of attention and MLP is `h.i` with norms `ln_1` and
// `ln_2`; here it is layers 2i and 2i + 1. There, linear weights are (in, out) ("Conv1D"); here
// they are (out, in).
namespace scangrad {

/// A model as data. The order of members is frozen.
struct PretrainedModel {
  LanguageModelConfig config = {};
  NamedTensors state = {};  ///< under this library's names, for `Module::load_state_dict`
};

/// Reads a folder of Hugging Face's. Names may have the prefix `transformer.` or not; causal masks
/// (`attn.bias`, `attn.masked_bias`) are skipped; `lm_head.weight` may be there, equal to the
/// embedding. Throws IoError on files that cannot be read, ValueError on a configuration or
/// a name that is not GPT-2's and on another `lm_head.weight`.
PretrainedModel load_gpt2(const std::filesystem::path& folder);

/// Writes such a folder, which must exist. Biases that the model does not have are written as
/// zeros. Throws ValueError where it is not of GPT-2's architecture: attention and MLP in turn,
/// learned positions.
void save_gpt2(const std::filesystem::path& folder, const LanguageModel& model);

}  // namespace scangrad
