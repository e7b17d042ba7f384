#include <scangrad/core/backend.h>
#include <scangrad/core/format.h>
#include <scangrad/ops/shape.h>
#include <scangrad/train/files.h>
#include <scangrad/train/safetensors.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

static_assert(std::endian::native == std::endian::little, "safetensors bytes are little-endian");

namespace scangrad {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

constexpr std::uint64_t max_header_bytes = 100'000'000;

/// What a dtype of the format is to us.
struct FileDType {
  const char* name;
  unsigned bits;
  std::optional<DType> loads_as;
};

constexpr FileDType file_dtypes[] = {
    {"BOOL", 8, DType::bool_}, {"F4", 4, {}},           {"F6_E2M3", 6, {}},
    {"F6_E3M2", 6, {}},        {"U8", 8, {}},           {"I8", 8, {}},
    {"F8_E5M2", 8, {}},        {"F8_E4M3", 8, {}},      {"F8_E8M0", 8, {}},
    {"I16", 16, {}},           {"U16", 16, {}},         {"F16", 16, DType::f32},
    {"BF16", 16, DType::bf16}, {"I32", 32, DType::i32}, {"U32", 32, {}},
    {"F32", 32, DType::f32},   {"C64", 64, {}},         {"F64", 64, DType::f64},
    {"I64", 64, DType::i64},   {"U64", 64, {}},
};

const FileDType* find_dtype(const std::string& name) {
  for (const FileDType& dtype : file_dtypes) {
    if (name == dtype.name) return &dtype;
  }
  return nullptr;
}

const char* file_name(DType dtype) {
  switch (dtype) {
    case DType::bool_:
      return "BOOL";
    case DType::i32:
      return "I32";
    case DType::i64:
      return "I64";
    case DType::bf16:
      return "BF16";
    case DType::f32:
      return "F32";
    case DType::f64:
      return "F64";
  }
  return "";
}

/// Refuses a file.
template <class... Args>
void require(bool ok, const fs::path& path, fmt::format_string<Args...> message, Args&&... args) {
  if (ok) return;
  fail<IoError>("{}: not a valid safetensors file: {}", path.string(),
                fmt::format(message, std::forward<Args>(args)...));
}

/// The header as JSON. The parser alone would keep the last of two equal keys.
Json parse_header(const fs::path& path, const std::string& text) {
  std::vector<std::set<std::string>> keys;
  const auto on_event = [&](int depth, Json::parse_event_t event, Json& value) {
    require(depth <= 3, path, "the header is nested too deeply");
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key) {
      const std::string key = value.get<std::string>();
      require(keys.back().insert(key).second, path, "'{}' is there twice", key);
    }
    return true;
  };
  require(!text.empty() && text[0] == '{', path, "the header is not a JSON object");
  try {
    Json header = Json::parse(text, on_event);
    require(header.is_object(), path, "the header is not a JSON object");
    return header;
  } catch (const Json::exception&) {
    fail<IoError>("{}: not a valid safetensors file: the header is not JSON", path.string());
  }
}

std::map<std::string, std::string> parse_metadata(const fs::path& path, const Json& value) {
  require(value.is_object(), path, "__metadata__ is not an object");
  std::map<std::string, std::string> metadata;
  for (const auto& [key, text] : value.items()) {
    require(text.is_string(), path, "__metadata__ '{}' is not a string", key);
    metadata[key] = text.get<std::string>();
  }
  return metadata;
}

TensorEntry parse_entry(const fs::path& path, const std::string& name, const Json& value) {
  require(value.is_object() && value.size() == 3 && value.contains("dtype") &&
              value.contains("shape") && value.contains("data_offsets"),
          path, "tensor '{}' does not have just dtype, shape and data_offsets", name);
  TensorEntry entry{name, {}, {}, 0, 0};
  require(value["dtype"].is_string(), path, "tensor '{}' has a dtype that is not text", name);
  entry.dtype = value["dtype"].get<std::string>();
  const FileDType* dtype = find_dtype(entry.dtype);
  require(dtype != nullptr, path, "tensor '{}' has the unknown dtype '{}'", name, entry.dtype);

  require(value["shape"].is_array(), path, "tensor '{}' has a shape that is not a list", name);
  std::int64_t bits = dtype->bits;
  bool fits = true, empty = false;
  for (const Json& size : value["shape"]) {
    require(size.is_number_unsigned(), path,
            "tensor '{}' has a size that is not a non-negative integer", name);
    require(size.get<std::uint64_t>() <= INT64_MAX, path,
            "tensor '{}' has a size too large to count", name);
    const auto count = size.get<std::int64_t>();
    entry.shape.push_back(count);
    empty = empty || count == 0;
    // Without the zeros, since the strides of an empty tensor must be countable too.
    fits = fits && !__builtin_mul_overflow(bits, std::max<std::int64_t>(count, 1), &bits);
  }
  require(fits, path, "tensor '{}' has more elements than can be counted", name);
  if (empty) bits = 0;
  require(bits % 8 == 0, path, "tensor '{}' does not fill whole bytes", name);

  const Json& offsets = value["data_offsets"];
  require(offsets.is_array() && offsets.size() == 2 && offsets[0].is_number_unsigned() &&
              offsets[1].is_number_unsigned(),
          path, "tensor '{}' has data_offsets that are not two non-negative integers", name);
  entry.begin = offsets[0].get<std::uint64_t>();
  entry.end = offsets[1].get<std::uint64_t>();
  const auto bytes = static_cast<std::uint64_t>(bits / 8);
  require(entry.begin <= entry.end && entry.end - entry.begin == bytes, path,
          "tensor '{}' has {} bytes by its shape and dtype, but offsets {} to {}", name, bytes,
          entry.begin, entry.end);
  return entry;
}

/// The tensors lie side by side, from 0 to the end of the file.
void check_layout(const fs::path& path, const std::vector<TensorEntry>& entries,
                  std::uint64_t data_bytes) {
  std::uint64_t at = 0;
  for (const TensorEntry& entry : entries) {
    require(entry.begin >= at, path, "tensor '{}' overlaps the one before it", entry.name);
    require(entry.begin == at, path, "there are {} unused bytes before tensor '{}'",
            entry.begin - at, entry.name);
    at = entry.end;
  }
  require(at <= data_bytes, path, "it is cut off: {} bytes of tensors are missing",
          at - std::min(at, data_bytes));
  require(at == data_bytes, path, "{} bytes follow the last tensor", data_bytes - at);
}

std::ifstream open_file(const fs::path& path, std::uint64_t& size) {
  std::error_code error;
  size = fs::file_size(path, error);
  check<IoError>(!error, "{}: cannot be opened: {}", path.string(), error.message());
  std::ifstream file(path, std::ios::binary);
  check<IoError>(file.good(), "{}: cannot be opened: {}", path.string(), std::strerror(errno));
  return file;
}

void read_bytes(const fs::path& path, std::ifstream& file, void* to, std::uint64_t bytes) {
  file.read(static_cast<char*>(to), static_cast<std::streamsize>(bytes));
  check<IoError>(file.good(), "{}: cannot be read to its end", path.string());
}

TensorIndex read_index(const fs::path& path, std::ifstream& file, std::uint64_t file_bytes) {
  require(file_bytes >= 8, path, "it has {} bytes, too few for a header", file_bytes);
  std::uint64_t header_bytes = 0;
  read_bytes(path, file, &header_bytes, 8);
  require(header_bytes <= max_header_bytes, path, "its header length, {}, is above 100 MB",
          header_bytes);
  require(header_bytes <= file_bytes - 8, path,
          "it is cut off: a header of {} bytes does not fit its {} bytes", header_bytes,
          file_bytes);
  std::string text(header_bytes, '\0');
  read_bytes(path, file, text.data(), header_bytes);

  TensorIndex index;
  index.data_begin = 8 + header_bytes;
  const Json header = parse_header(path, text);
  for (const auto& [name, value] : header.items()) {
    if (name == "__metadata__") {
      index.metadata = parse_metadata(path, value);
    } else {
      index.entries.push_back(parse_entry(path, name, value));
    }
  }
  std::sort(index.entries.begin(), index.entries.end(),
            [](const TensorEntry& a, const TensorEntry& b) {
              return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
            });
  check_layout(path, index.entries, file_bytes - index.data_begin);
  return index;
}

/// IEEE half precision: 1 sign, 5 exponent and 10 fraction bits.
float from_half(std::uint16_t half) {
  const int exponent = (half >> 10) & 31;
  const int fraction = half & 1023;
  float value;
  if (exponent == 31) {
    value = fraction == 0 ? INFINITY : NAN;
  } else if (exponent == 0) {
    value = std::ldexp(static_cast<float>(fraction), -24);
  } else {
    value = std::ldexp(static_cast<float>(1024 + fraction), exponent - 25);
  }
  return (half & 0x8000) != 0 ? -value : value;
}

Tensor read_tensor(const fs::path& path, std::ifstream& file, const TensorEntry& entry) {
  const std::optional<DType> dtype = find_dtype(entry.dtype)->loads_as;
  check<IoError>(dtype.has_value(), "{}: tensor '{}' is {}, which scangrad cannot load",
                 path.string(), entry.name, entry.dtype);
  check<IoError>(entry.shape.size() <= max_rank,
                 "{}: tensor '{}' has {} dimensions, but scangrad has at most {}", path.string(),
                 entry.name, entry.shape.size(), max_rank);
  const Tensor tensor = empty(Shape(entry.shape.begin(), entry.shape.end()), {*dtype, {}});
  const std::uint64_t bytes = entry.end - entry.begin;
  if (entry.dtype == "F16") {
    std::vector<std::uint16_t> halves(bytes / 2);
    read_bytes(path, file, halves.data(), bytes);
    std::transform(halves.begin(), halves.end(), tensor.data<float>(), from_half);
  } else {
    read_bytes(path, file, tensor.raw_data(), bytes);
  }
  if (*dtype == DType::bool_) {
    const auto* first = static_cast<const std::uint8_t*>(tensor.raw_data());
    require(std::all_of(first, first + bytes, [](std::uint8_t byte) { return byte <= 1; }), path,
            "tensor '{}' is BOOL but holds bytes other than 0 and 1", entry.name);
  }
  return tensor;
}

std::uint64_t byte_count(const Tensor& tensor) {
  return static_cast<std::uint64_t>(tensor.numel()) * size_of(tensor.dtype());
}

}  // namespace

TensorIndex inspect_safetensors(const fs::path& path) {
  std::uint64_t file_bytes = 0;
  std::ifstream file = open_file(path, file_bytes);
  return read_index(path, file, file_bytes);
}

TensorFile load_safetensors(const fs::path& path,
                            const std::function<bool(const std::string&)>& skip) {
  std::uint64_t file_bytes = 0;
  std::ifstream file = open_file(path, file_bytes);
  TensorIndex index = read_index(path, file, file_bytes);
  TensorFile result{{}, std::move(index.metadata)};
  for (const TensorEntry& entry : index.entries) {
    if (skip && skip(entry.name)) continue;
    file.seekg(static_cast<std::streamoff>(index.data_begin + entry.begin));
    result.tensors.push_back({entry.name, read_tensor(path, file, entry)});
  }
  return result;
}

void save_safetensors(const fs::path& path, const NamedTensors& tensors,
                      const std::map<std::string, std::string>& metadata) {
  NamedTensors ordered;
  for (const NamedTensor& named : tensors) {
    ordered.push_back({named.name, contiguous(to(named.tensor.detach(), Device::cpu()))});
    synchronize(named.tensor.device());  // raises what went wrong there, before anything is written
  }
  // The widest first: every tensor is then aligned to its own element size.
  std::stable_sort(ordered.begin(), ordered.end(), [](const NamedTensor& a, const NamedTensor& b) {
    return size_of(a.tensor.dtype()) > size_of(b.tensor.dtype());
  });

  nlohmann::ordered_json header = nlohmann::ordered_json::object();  // as the bytes are
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::uint64_t at = 0;
  for (const auto& [name, tensor] : ordered) {
    check<ValueError>(!name.empty() && name != "__metadata__",
                      "save_safetensors: a tensor cannot be named '{}'", name);
    check<ValueError>(!header.contains(name), "save_safetensors: two tensors are named '{}'", name);
    const std::uint64_t end = at + byte_count(tensor);
    header[name] = {
        {"dtype", file_name(tensor.dtype())},
        {"shape", std::vector<std::int64_t>(tensor.shape().begin(), tensor.shape().end())},
        {"data_offsets", {at, end}}};
    at = end;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const Json::exception&) {
    fail<ValueError>("save_safetensors: a name or metadata text is not valid UTF-8");
  }
  text.append((8 - text.size() % 8) % 8, ' ');
  std::uint64_t length = text.size();
  check<ValueError>(length <= max_header_bytes,
                    "save_safetensors: the header would have {} bytes, above the format's 100 MB",
                    length);

  std::vector<std::string_view> pieces = {{reinterpret_cast<const char*>(&length), 8}, text};
  for (const NamedTensor& named : ordered) {
    pieces.emplace_back(static_cast<const char*>(named.tensor.raw_data()),
                        byte_count(named.tensor));
  }
  write_file(path, pieces);
}

}  // namespace scangrad
