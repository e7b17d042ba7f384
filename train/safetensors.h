#pragma once
#include <scangrad/core/named_tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

// The safetensors file format (https://github.com/huggingface/safetensors): a header length (8
// bytes, little-endian), a JSON header, the tensors' bytes. The reader is as strict as the format:
// a refused file is an IoError of one sentence that says what is wrong, and nothing is returned.
namespace scangrad {

/// One line of a file's header.
struct TensorEntry {
  std::string name = {};
  std::string dtype = {};  ///< as the format writes it: `F32`, `BF16`, `I64` …
  std::vector<std::int64_t> shape = {};
  std::uint64_t begin = 0;  ///< first byte, counted from the end of the header
  std::uint64_t end = 0;    ///< one past the last byte
};

/// A file's header: entries in the order of their bytes.
struct TensorIndex {
  std::vector<TensorEntry> entries = {};
  std::map<std::string, std::string> metadata = {};
  std::uint64_t data_begin = 0;  ///< where in the file the tensors' bytes begin
};

/// A file's tensors, in the order of their bytes, and its metadata.
struct TensorFile {
  NamedTensors tensors = {};
  std::map<std::string, std::string> metadata = {};
};

/// Reads and checks the header, not the tensors; all dtypes of the format are listed.
TensorIndex inspect_safetensors(const std::filesystem::path& path);

/// Reads tensors onto the CPU. F16 becomes f32. Tensors of dtypes that scangrad does not have (I8,
/// F8_E4M3 …) are refused by name, unless `skip(name)` says that nobody wants them.
TensorFile load_safetensors(const std::filesystem::path& path,
                            const std::function<bool(const std::string&)>& skip = nullptr);

/// Writes the tensors (any device, any strides) and metadata; see `write_file` for what happens
/// when the disk is full. Throws ValueError on an empty, reserved or repeated name.
void save_safetensors(const std::filesystem::path& path, const NamedTensors& tensors,
                      const std::map<std::string, std::string>& metadata = {});

}  // namespace scangrad
