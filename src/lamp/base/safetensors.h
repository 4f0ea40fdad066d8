// Tensors in a file that any Python reads with the safetensors package, and that cannot carry code.
// Layout: 8 bytes little-endian header length, a JSON header {name: {dtype, shape, data_offsets}},
// then the bytes, row-major. Files that we write carry a checksum of all that they say, as
// "checksum" in __metadata__: without it a flipped bit in a weight would show later, as NaN, or
// never.
#pragma once

#include <torch/types.h>

#include <filesystem>
#include <map>
#include <string>

namespace lamp {

struct SafeTensors {
  std::map<std::string, torch::Tensor> tensors;  // on the CPU, contiguous
  std::map<std::string, std::string> metadata;   // the header's __metadata__, without "checksum"
  bool has_checksum = false;                     // set by the reader: one was there, and right
};

// Checks every length and offset against the file's true size before it allocates, and the checksum
// where there is one. Throws InputError for a file that is cut short, overlapping, of an unknown
// dtype, damaged, no regular file, or (by its first bytes) a PyTorch pickle, which is never opened.
SafeTensors read_safetensors(const std::filesystem::path& file);

// What the file says of itself, "checksum" included: its header alone is read and checked.
std::map<std::string, std::string> read_safetensors_metadata(const std::filesystem::path& file);

// Writes atomically. Tensors may live on any device and have any strides. Throws Error if the disk
// refuses.
void write_safetensors(const std::filesystem::path& file, const SafeTensors& content);

}  // namespace lamp
