// The reader refuses what the format forbids with one sentence, since a file from elsewhere must
// never crash a program or load as something else; the writer's files are read back bit for bit.
#include <scangrad/scangrad.h>
#include <scangrad/tests/support/catch.h>
#include <scangrad/train/files.h>
#include <scangrad/train/safetensors.h>
#include <sys/resource.h>

#include <cmath>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <random>

namespace fs = std::filesystem;
using namespace scangrad;

namespace {

/// A fresh folder of this test's own.
fs::path folder(const std::string& name) {
  const fs::path path = fs::path("safetensors_test") / name;
  fs::remove_all(path);
  fs::create_directories(path);
  return path;
}

std::string with_header(const std::string& header, std::size_t data_bytes) {
  std::uint64_t length = header.size();
  std::string file(8, '\0');
  std::memcpy(file.data(), &length, 8);
  return file + header + std::string(data_bytes, '\0');
}

/// What the reader says of these bytes; empty if it takes them.
std::string verdict(const std::string& bytes) {
  const fs::path path = folder("verdict") / "x.safetensors";
  write_file(path, bytes);
  try {
    load_safetensors(path);
    return "";
  } catch (const IoError& error) {
    return error.what();
  }
}

std::string entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
  std::string text = "\"";  // appended to, since gcc 12 warns wrongly of "text" + string
  text.append(name).append("\":{\"dtype\":\"").append(dtype).append("\",\"shape\":").append(shape);
  return text.append(",\"data_offsets\":").append(offsets).append("}");
}

template <class T>
void require_same(const Tensor& a, const Tensor& b) {
  REQUIRE(a.dtype() == b.dtype());
  REQUIRE(a.shape() == b.shape());
  REQUIRE(a.to_vector<T>() == b.to_vector<T>());
}

/// A header of these entries.
std::string object(const std::vector<std::string>& entries) {
  std::string text;
  for (const std::string& e : entries) text.append(text.empty() ? "{" : ",").append(e);
  return text.append("}");
}

NamedTensors samples() {
  return {{"half", cast(from<float>({1.5f, -2.25f, 3e38f}), DType::bf16)},
          {"truth", from<bool>({true, false, true})},
          {"scalar", from<double>({M_PI}, {})},
          {"none", zeros({0, 3})},
          {"matrix", from<float>({1, 2, 3, 4, 5, 6}, {2, 3})},
          {"counts", from<std::int64_t>({-1, INT64_MAX}, {2})},
          {"small", from<std::int32_t>({7}, {1})}};
}

}  // namespace

TEST_CASE("What is saved is loaded again: every dtype, 0-d, empty and strided tensors") {
  const fs::path path = folder("round_trip") / "x.safetensors";
  NamedTensors tensors = samples();
  tensors.push_back({"strided", transpose(tensors[4].tensor, 0, 1)});
  save_safetensors(path, tensors, {{"format", "pt"}, {"note", "\"quotes\" and ünïcode"}});

  const TensorFile file = load_safetensors(path);
  CHECK(file.metadata.at("note") == "\"quotes\" and ünïcode");
  REQUIRE(file.tensors.size() == tensors.size());
  for (const auto& [name, tensor] : tensors) {
    const auto same = [&, &key = name](const NamedTensor& other) { return other.name == key; };
    const auto found = std::find_if(file.tensors.begin(), file.tensors.end(), same);
    REQUIRE(found != file.tensors.end());
    require_same<double>(found->tensor, tensor);
  }
}

TEST_CASE("The writer aligns: header padded to 8 bytes, widest dtype first") {
  const fs::path path = folder("alignment") / "x.safetensors";
  save_safetensors(path, samples());
  const TensorIndex index = inspect_safetensors(path);
  CHECK(index.data_begin % 8 == 0);
  std::size_t last = 8;
  for (const TensorEntry& e : index.entries) {
    const std::size_t width =
        e.dtype == "BOOL" ? 1 : std::stoul(e.dtype.substr(e.dtype.find_first_of("0123456789"))) / 8;
    CHECK(e.begin % width == 0);
    CHECK(width <= last);
    last = width;
  }
}

TEST_CASE("F16 loads as f32, exactly: subnormals, infinities and signs too") {
  const std::vector<std::uint16_t> halves = {0x3c00, 0xc000, 0x0001, 0x03ff, 0x0400,
                                             0x7bff, 0x7c00, 0xfc00, 0x8000};
  std::string file = with_header(object({entry("h", "F16", "[9]", "[0,18]")}), 18);
  std::memcpy(file.data() + file.size() - 18, halves.data(), 18);
  const fs::path path = folder("half") / "x.safetensors";
  write_file(path, file);
  const std::vector<float> expected = {1.0f,
                                       -2.0f,
                                       std::ldexp(1.0f, -24),
                                       std::ldexp(1023.0f, -24),
                                       std::ldexp(1.0f, -14),
                                       65504.0f,
                                       INFINITY,
                                       -INFINITY,
                                       -0.0f};
  const Tensor half = load_safetensors(path).tensors[0].tensor;
  CHECK(half.dtype() == DType::f32);
  CHECK(half.to_vector<float>() == expected);
  CHECK(std::signbit(half.to_vector<float>()[8]));
}

TEST_CASE(
    "Every dtype of the format is listed, and one that cannot be loaded is named or skipped") {
  const std::vector<std::pair<std::string, int>> bits = {
      {"BOOL", 8}, {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"U8", 8},
      {"I8", 8},   {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"I16", 16},
      {"U16", 16}, {"F16", 16},    {"BF16", 16},   {"I32", 32},    {"U32", 32},
      {"F32", 32}, {"C64", 64},    {"F64", 64},    {"I64", 64},    {"U64", 64}};
  std::string header = "{";
  int at = 0;
  for (const auto& [name, width] : bits) {
    std::string offsets = "[";
    offsets.append(std::to_string(at))
        .append(",")
        .append(std::to_string(at + width / 2))
        .append("]");
    if (at > 0) header += ',';
    header += entry(std::string("t.").append(name), name, "[4]", offsets);
    at += width / 2;
  }
  const fs::path path = folder("dtypes") / "x.safetensors";
  write_file(path, with_header(header + "}", static_cast<std::size_t>(at)));
  CHECK(inspect_safetensors(path).entries.size() == bits.size());
  CHECK_THROWS_WITH(load_safetensors(path),
                    ContainsSubstring("'t.F4' is F4, which scangrad cannot load"));
  const auto skip = [](const std::string& name) { return name != "t.F32" && name != "t.F16"; };
  CHECK(load_safetensors(path, skip).tensors.size() == 2);
}

TEST_CASE("A file cut off anywhere is refused, and so is one with bytes added") {
  const fs::path path = folder("truncated") / "x.safetensors";
  save_safetensors(path, samples(), {{"a", "b"}});
  const std::string whole = read_file(path);
  REQUIRE(verdict(whole).empty());
  for (std::size_t length = 0; length < whole.size(); ++length) {
    INFO("cut to " << length << " of " << whole.size() << " bytes");
    CHECK_THAT(verdict(whole.substr(0, length)), ContainsSubstring("not a valid safetensors file"));
  }
  CHECK_THAT(verdict(whole + '\0'), ContainsSubstring("1 bytes follow the last tensor"));
}

TEST_CASE("A header length beyond the file or the format is refused before anything is allocated") {
  std::string file = with_header("{}", 0);
  for (const std::uint64_t length : {std::uint64_t{3}, std::uint64_t{99'999'999},
                                     std::uint64_t{100'000'001}, UINT64_MAX, UINT64_MAX - 7}) {
    std::memcpy(file.data(), &length, 8);
    CHECK_THAT(verdict(file),
               ContainsSubstring(length > 100'000'000 ? "above 100 MB" : "is cut off"));
  }
}

TEST_CASE("Headers that the format forbids are refused with the reason") {
  const std::string a = entry("a", "F32", "[1]", "[0,4]");
  struct Case {
    std::string header;
    std::size_t data_bytes;
    std::string reason;
  };
  const std::vector<Case> cases = {
      {"", 0, "is not a JSON object"},
      {"[]", 0, "is not a JSON object"},
      {" {}", 0, "is not a JSON object"},
      {"{", 0, "is not JSON"},
      {"{} x", 0, "is not JSON"},
      {"{\"\xff\":1}", 0, "is not JSON"},
      {std::string(1000, '[').replace(0, 5, "{\"a\":"), 0, "nested too deeply"},
      {object({a, a}), 4, "'a' is there twice"},
      {R"({"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4,
       "'dtype' is there twice"},
      {R"({"a":1})", 0, "does not have just dtype, shape and data_offsets"},
      {R"({"a":{"dtype":"F32","shape":[1]}})", 4, "does not have just"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":0}})", 4, "does not have just"},
      {R"({"__metadata__":{"a":1}})", 0, "'a' is not a string"},
      {R"({"__metadata__":"a"})", 0, "is not an object"},
      {object({entry("a", "F31", "[1]", "[0,4]")}), 4, "unknown dtype 'F31'"},
      {R"({"a":{"dtype":7,"shape":[1],"data_offsets":[0,4]}})", 4, "dtype that is not text"},
      {object({entry("a", "F32", "1", "[0,4]")}), 4, "shape that is not a list"},
      {object({entry("a", "F32", "[-1]", "[0,4]")}), 4, "not a non-negative integer"},
      {object({entry("a", "F32", "[1.0]", "[0,4]")}), 4, "not a non-negative integer"},
      {object({entry("a", "F32", "[99999999999999999999]", "[0,4]")}), 4,
       "not a non-negative integer"},
      {object({entry("a", "F32", "[18446744073709551615]", "[0,4]")}), 4, "too large to count"},
      {object({entry("a", "F32", "[4611686018427387904,4]", "[0,0]")}), 0,
       "more elements than can be counted"},
      {object({entry("a", "F32", "[4294967296,4294967296,4]", "[0,0]")}), 0, "more elements than"},
      {object({entry("a", "F32", "[0,4294967296,4294967296]", "[0,0]")}), 0, "more elements than"},
      {object({entry("a", "F4", "[3]", "[0,2]")}), 2, "does not fill whole bytes"},
      {object({entry("a", "F32", "[1]", "[0]")}), 4, "not two non-negative integers"},
      {object({entry("a", "F32", "[1]", "[0,-4]")}), 4, "not two non-negative integers"},
      {object({entry("a", "F32", "[1]", "[4,0]")}), 4, "has 4 bytes by its shape and dtype"},
      {object({entry("a", "F32", "[2]", "[0,4]")}), 4, "has 8 bytes by its shape and dtype"},
      {object({entry("a", "F32", "[1]", "[0,4]"), entry("b", "F32", "[1]", "[2,6]")}), 6,
       "'b' overlaps"},
      {object({entry("a", "F32", "[1]", "[0,4]"), entry("b", "F32", "[1]", "[0,4]")}), 4,
       "overlaps"},
      {object({entry("a", "F32", "[1]", "[0,4]"), entry("b", "F32", "[1]", "[8,12]")}), 12,
       "4 unused bytes before tensor 'b'"},
      {object({entry("a", "F32", "[1]", "[4,8]")}), 8, "4 unused bytes before tensor 'a'"},
      {object({entry("a", "F32", "[1]", "[0,4]")}), 2, "2 bytes of tensors are missing"},
      {object({entry("a", "F32", "[1]", "[0,4]")}), 9, "5 bytes follow the last tensor"},
      {"{}", 1, "1 bytes follow the last tensor"},
  };
  for (const Case& c : cases) {
    INFO(c.header);
    CHECK_THAT(verdict(with_header(c.header, c.data_bytes)), ContainsSubstring(c.reason));
  }
  CHECK(verdict(with_header("{}", 0)).empty());
  const std::string padded =
      object({entry("a", "F32", "[0]", "[0,0]"), entry("b", "F32", "[]", "[0,4]")}).append("  ");
  CHECK(verdict(with_header(padded, 4)).empty());
}

TEST_CASE("A BOOL that is neither 0 nor 1 is refused, since reading it as a bool is undefined") {
  std::string file = with_header(object({entry("mask", "BOOL", "[2]", "[0,2]")}), 2);
  file.back() = 2;
  CHECK_THAT(verdict(file), ContainsSubstring("bytes other than 0 and 1"));
}

TEST_CASE("Random damage to a file gives tensors or one sentence, never anything else") {
  const fs::path path = folder("damage") / "x.safetensors";
  save_safetensors(path, samples(), {{"a", "b"}});
  const std::string whole = read_file(path);
  std::mt19937 random(1);
  int refused = 0;
  for (int i = 0; i < 300; ++i) {
    std::string damaged = whole;
    for (unsigned n = random() % 3; n < 3; ++n) {
      damaged[random() % damaged.size()] = static_cast<char>(random());
    }
    refused += verdict(damaged).empty() ? 0 : 1;  // an exception of another kind fails the test
  }
  CHECK(refused > 100);
}

TEST_CASE("Files that cannot be opened are named with the reason") {
  CHECK_THROWS_WITH(load_safetensors("no/such.safetensors"),
                    ContainsSubstring("no/such.safetensors: cannot be opened: No such file"));
  CHECK_THROWS_AS(load_safetensors(folder("directory")), IoError);
  CHECK_THROWS_WITH(save_safetensors("no/such/folder/x", {}), ContainsSubstring("No such file"));
}

TEST_CASE("Names that a file cannot hold are refused") {
  const fs::path path = folder("names") / "x.safetensors";
  CHECK_THROWS_AS(save_safetensors(path, {{"a", ones({1})}, {"a", ones({1})}}), ValueError);
  CHECK_THROWS_AS(save_safetensors(path, {{"__metadata__", ones({1})}}), ValueError);
  CHECK_THROWS_AS(save_safetensors(path, {{"", ones({1})}}), ValueError);
  CHECK_THROWS_AS(save_safetensors(path, {{"\xff", ones({1})}}), ValueError);
  CHECK_FALSE(fs::exists(path));
}

TEST_CASE("A disk that fills up is one error, and the old file and nothing else is there after") {
  const fs::path path = folder("full") / "x.safetensors";
  save_safetensors(path, {{"old", ones({4})}});
  const std::string before = read_file(path);

  // A limit on the size of files stands in for the full disk: both fail in write().
  struct rlimit usual = {};
  getrlimit(RLIMIT_FSIZE, &usual);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const struct rlimit limit = {10'000, usual.rlim_max};
  setrlimit(RLIMIT_FSIZE, &limit);
  std::string message;
  try {
    save_safetensors(path, {{"new", ones({100'000})}});
  } catch (const IoError& error) {
    message = error.what();
  }
  setrlimit(RLIMIT_FSIZE, &usual);
  std::signal(SIGXFSZ, handler);

  CHECK_THAT(message, ContainsSubstring("cannot be written: File too large"));
  CHECK(read_file(path) == before);
  CHECK(std::distance(fs::directory_iterator(path.parent_path()), {}) == 1);
}
