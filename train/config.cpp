#include <scangrad/core/format.h>
#include <scangrad/train/config.h>
#include <scangrad/train/files.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <numeric>
#include <sstream>

namespace scangrad {
namespace {

using Json = nlohmann::ordered_json;

// Every field of the configuration, once: `visit(name, member)` reads or writes it.
template <class Visit>
void fields(LanguageModelConfig& c, Visit&& visit) {
  visit("vocab_size", c.vocab_size);
  visit("context", c.context);
  visit("width", c.width);
  visit("heads", c.heads);
  visit("layers", c.layers);
  visit("positions", c.positions);
  visit("scheme", c.scheme);
  visit("state_size", c.state_size);
  visit("dropout", c.dropout);
  visit("position_order", c.position_order);
  visit("normalize", c.normalize);
  visit("gelu", c.gelu);
  visit("bias", c.bias);
  visit("document_start", c.document_start);
}
template <class Visit>
void fields(CurriculumStage& c, Visit&& visit) {
  visit("from_step", c.from_step);
  visit("length", c.length);
}
template <class Visit>
void fields(DataConfig& c, Visit&& visit) {
  visit("kind", c.kind);
  visit("file", c.file);
  visit("validation_file", c.validation_file);
  visit("group", c.group);
  visit("length", c.length);
  visit("curriculum", c.curriculum);
  visit("separate_documents", c.separate_documents);
  visit("train_fraction", c.train_fraction);
  visit("eval_lengths", c.eval_lengths);
  visit("eval_sequences", c.eval_sequences);
}
template <class Visit>
void fields(OptimizerConfig& c, Visit&& visit) {
  visit("name", c.name);
  visit("beta1", c.beta1);
  visit("beta2", c.beta2);
  visit("eps", c.eps);
  visit("momentum", c.momentum);
  visit("weight_decay", c.weight_decay);
  visit("clip", c.clip);
  visit("w_in_rate", c.w_in_rate);
  visit("accumulate", c.accumulate);
}
template <class Visit>
void fields(Schedule& c, Visit&& visit) {
  visit("kind", c.kind);
  visit("rate", c.rate);
  visit("warmup_rate", c.warmup_rate);
  visit("final_rate", c.final_rate);
  visit("warmup_steps", c.warmup_steps);
  visit("decay_steps", c.decay_steps);
  visit("update_every", c.update_every);
}
template <class Visit>
void fields(RunConfig& c, Visit&& visit) {
  visit("from", c.from);
  visit("model", c.model);
  visit("data", c.data);
  visit("optimizer", c.optimizer);
  visit("schedule", c.schedule);
  visit("steps", c.steps);
  visit("batch", c.batch);
  visit("validation_batch", c.validation_batch);
  visit("validate_every", c.validate_every);
  visit("checkpoint_every", c.checkpoint_every);
  visit("log_every", c.log_every);
  visit("seed", c.seed);
  visit("precision", c.precision);
  visit("device", c.device);
  visit("capture", c.capture);
}

template <class T>
concept Section = requires(T& section) {
  fields(section, [](const char*, auto&) {});
};

/// Single-character edits from one word to another.
std::size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i + 1);
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] != b[j]);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

template <class T>
Json written(T& value) {
  if constexpr (Section<T>) {
    Json out = Json::object();
    fields(value, [&](const char* key, auto& member) { out[key] = written(member); });
    return out;
  } else if constexpr (std::is_same_v<T, std::vector<CurriculumStage>>) {
    Json out = Json::array();
    for (CurriculumStage& stage : value) out.push_back(written(stage));
    return out;
  } else {
    return value;
  }
}

template <class T>
void read(const std::string& path, const Json& json, T& value);

template <Section T>
void read_section(const std::string& path, const Json& json, T& section) {
  check<ValueError>(json.is_object(), "config: {} must be an object, not {}",
                    path.empty() ? "the whole" : path, json.dump());
  std::vector<std::string> known;
  fields(section, [&](const char* key, auto&) { known.emplace_back(key); });
  const std::string prefix = path.empty() ? "" : path + ".";
  for (const auto& item : json.items()) {
    const std::string& key = item.key();
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    const std::string& nearest =
        *std::min_element(known.begin(), known.end(), [&](const auto& a, const auto& b) {
          return edit_distance(key, a) < edit_distance(key, b);
        });
    fail<ValueError>("config: there is no key '{}{}'; the nearest is '{}{}'", prefix, key, prefix,
                     nearest);
  }
  fields(section, [&](const char* key, auto& member) {
    if (json.contains(key)) read(prefix + key, json.at(key), member);
  });
}

template <class T>
void read(const std::string& path, const Json& json, T& value) {
  if constexpr (Section<T>) {
    read_section(path, json, value);
  } else if constexpr (std::is_same_v<T, std::string>) {
    check<ValueError>(json.is_string(), "config: {} must be text, not {}", path, json.dump());
    value = json.get<std::string>();
  } else if constexpr (std::is_same_v<T, bool>) {
    check<ValueError>(json.is_boolean(), "config: {} must be true or false, not {}", path,
                      json.dump());
    value = json.get<bool>();
  } else if constexpr (std::is_same_v<T, double>) {
    check<ValueError>(json.is_number(), "config: {} must be a number, not {}", path, json.dump());
    value = json.get<double>();
  } else if constexpr (std::is_same_v<T, std::uint64_t>) {
    check<ValueError>(json.is_number_unsigned(),
                      "config: {} must be an integer of 0 or more, not {}", path, json.dump());
    value = json.get<std::uint64_t>();
  } else if constexpr (std::is_same_v<T, std::int64_t>) {
    const bool fits = !json.is_number_unsigned() || json.get<std::uint64_t>() <= INT64_MAX;
    check<ValueError>(json.is_number_integer() && fits, "config: {} must be an integer{}, not {}",
                      path, fits ? "" : " below 2^63", json.dump());
    value = json.get<std::int64_t>();
  } else {
    check<ValueError>(json.is_array(), "config: {} must be a list, not {}", path, json.dump());
    T items(json.size());
    for (std::size_t i = 0; i < items.size(); ++i) {
      read(fmt::format("{}[{}]", path, i), json[i], items[i]);
    }
    value = std::move(items);
  }
}

Json parse(const std::string& text) {
  try {
    return Json::parse(text);
  } catch (const Json::parse_error& error) {
    fail<ValueError>("config: not valid JSON at byte {}", error.byte);
  } catch (const Json::out_of_range&) {
    fail<ValueError>("config: a number is out of range");
  }
}

}  // namespace

std::string to_json(const RunConfig& config) {
  RunConfig copy = config;
  return written(copy).dump(2);
}

RunConfig run_config_from_json(const std::string& text, const RunConfig& base) {
  RunConfig config = base;
  read_section("", parse(text), config);
  return config;
}

RunConfig load_run_config(const std::filesystem::path& path) {
  return run_config_from_json(read_file(path));
}

void set(RunConfig& config, const std::string& assignment) {
  const std::size_t equals = assignment.find('=');
  check<ValueError>(equals != std::string::npos && equals > 0,
                    "config: '{}' is no assignment; write path.to.key=value", assignment);
  const std::string value = assignment.substr(equals + 1);
  Json change = Json::parse(value, nullptr, /*allow_exceptions=*/false);
  if (change.is_discarded()) change = value;
  std::istringstream path(assignment.substr(0, equals));
  std::vector<std::string> keys;
  for (std::string key; std::getline(path, key, '.');) keys.push_back(key);
  for (auto key = keys.rbegin(); key != keys.rend(); ++key) change = Json{{*key, change}};
  read_section("", change, config);
}

std::int64_t length_at(const DataConfig& data, std::int64_t step) {
  std::int64_t length = data.length;
  for (const CurriculumStage& stage : data.curriculum) {
    if (stage.from_step <= step) length = stage.length;
  }
  return length;
}

std::int64_t tokens_trained(const RunConfig& config, std::int64_t steps) {
  const std::vector<CurriculumStage>& stages = config.data.curriculum;
  std::int64_t tokens = stages.empty() ? steps * config.data.length : 0;  // of one sequence a step
  for (std::size_t i = 0; i < stages.size(); ++i) {
    const std::int64_t end =
        i + 1 < stages.size() ? std::min(steps, stages[i + 1].from_step) : steps;
    tokens += std::max<std::int64_t>(end - stages[i].from_step, 0) * stages[i].length;
  }
  return tokens * config.batch * config.optimizer.accumulate;
}

}  // namespace scangrad
