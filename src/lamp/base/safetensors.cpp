// A reader that believes nothing in the header, and an atomic writer.
#include "lamp/base/safetensors.h"

#include <libdeflate.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/json.h"
#include "lamp/base/mistaken_file.h"
#include "lamp/base/text.h"

namespace lamp {
namespace {

constexpr std::uint64_t kLargestHeaderBytes = 100'000'000;  // the limit of the Python package
constexpr std::uint64_t kLargestTensorBytes = std::uint64_t{1} << 50;
constexpr std::size_t kMostDimensions = 64;  // torch's own limit
constexpr const char* kChecksum = "checksum";

const std::vector<std::pair<std::string, torch::ScalarType>>& dtypes() {
  static const std::vector<std::pair<std::string, torch::ScalarType>> table = {
      {"F64", torch::kFloat64},   {"F32", torch::kFloat32}, {"F16", torch::kFloat16},
      {"BF16", torch::kBFloat16}, {"I64", torch::kInt64},   {"I32", torch::kInt32},
      {"I16", torch::kInt16},     {"I8", torch::kInt8},     {"U8", torch::kUInt8},
      {"BOOL", torch::kBool}};
  return table;
}

[[noreturn]] void refuse_tensors(const std::filesystem::path& file, Fault rest) {
  rest.file = file.string();
  rest.what = "not a usable safetensors file";
  if (rest.fix.empty()) rest.fix = "it is damaged or of another format, get it again";
  throw InputError(std::move(rest));
}

std::string dtype_name(torch::ScalarType type) {
  const auto found = std::find_if(dtypes().begin(), dtypes().end(),
                                  [&](const auto& pair) { return pair.second == type; });
  TORCH_CHECK(found != dtypes().end(), "safetensors has no dtype for ", type);
  return found->first;
}

// CRC-32 over the content rather than the bytes of the file, so that whoever copies it with another
// library, in another order, keeps a checksum that holds.
class Checksum {
 public:
  void add(const void* bytes, std::size_t count) { crc_ = libdeflate_crc32(crc_, bytes, count); }
  void add(const std::string& text) {
    add(text.data(), text.size());
    add("", 1);  // the zero behind it: "ab", "c" is not "a", "bc"
  }
  void add(const std::map<std::string, std::string>& metadata) {
    for (const auto& [key, value] : metadata) {
      if (key == kChecksum) continue;
      add(key);
      add(value);
    }
  }
  // On the CPU and contiguous; in the order of the names.
  void add(const std::string& name, const torch::Tensor& tensor) {
    add(name);
    add(dtype_name(tensor.scalar_type()) + c10::str(tensor.sizes()));
    add(tensor.data_ptr(), tensor.nbytes());
  }
  std::string text() const { return c10::str("crc32:", std::hex, crc_); }

 private:
  std::uint32_t crc_ = 0;
};

struct TensorFileHeader {
  Json json;
  std::uint64_t data_start = 0;  // in the file
  std::uint64_t data_bytes = 0;
};

// A FIFO would keep the stream waiting for a writer.
std::ifstream open_regular(const std::filesystem::path& file) {
  std::error_code error;
  const auto status = std::filesystem::status(file, error);
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status))
    cannot_read(file.string(),
                {.found = "not a regular file", .expected = "a model", .fix = "check the path"});
  errno = 0;
  std::ifstream in(file, std::ios::binary);
  if (!in) throw InputError(unreadable(file.string(), errno));
  return in;
}

TensorFileHeader read_header(std::ifstream& in, const std::filesystem::path& file) {
  std::error_code error;
  const std::uint64_t size = std::filesystem::file_size(file, error);
  unsigned char prefix[8] = {};
  if (error || size < sizeof prefix || !in.read(reinterpret_cast<char*>(prefix), sizeof prefix))
    refuse_tensors(file, {.found = std::to_string(size) + " bytes are too few for a header",
                          .fix = "the file was cut short, get it again"});
  std::uint64_t length = 0;
  for (int i = 7; i >= 0; --i) length = length << 8 | prefix[i];
  if (length > kLargestHeaderBytes || length > size - sizeof prefix) {
    // Only now: 0x80 is also a fine first byte of a header's length.
    if ((prefix[0] == 'P' && prefix[1] == 'K') || prefix[0] == 0x80) {
      refuse_tensors(
          file, {.found = "this is a PyTorch pickle (.pt), which can run code and is never opened",
                 .fix = "convert it in Python with safetensors.torch.save_file(torch.load(path, "
                        "weights_only=True), 'model.safetensors')"});
    }
    const bool is_json = prefix[0] == '{' || (prefix[0] == '/' && prefix[1] == '/');
    const std::string_view start(reinterpret_cast<const char*>(prefix), sizeof prefix);
    if (const std::string other = is_json ? "a JSON file" : mistaken_kind(start); !other.empty())
      refuse_tensors(file, {.found = other,
                            .expected = "a model that lamp train has written",
                            .fix = "check the path"});
    refuse_tensors(file, {.found = "the header claims " + std::to_string(length) +
                                   " bytes, but the file holds " + std::to_string(size)});
  }
  std::string text(length, '\0');
  if (!in.read(text.data(), static_cast<std::streamsize>(length)))
    refuse_tensors(file, {.found = "cut short inside its header"});
  if (!text.starts_with('{')) {
    // The first bytes of an uncompressed image are a small number as well.
    const std::string other =
        mistaken_kind(std::string(reinterpret_cast<const char*>(prefix), sizeof prefix) + text);
    refuse_tensors(file, {.found = other.empty() ? "a header that is no JSON object" : other,
                          .expected = "a model that lamp train has written"});
  }
  TensorFileHeader header{parse_json(text, file.string()), sizeof prefix + length,
                          size - sizeof prefix - length};
  if (!header.json.is_object()) refuse_tensors(file, {.found = "its header is no JSON object"});
  return header;
}

std::map<std::string, std::string> metadata_of(const TensorFileHeader& header,
                                               const std::filesystem::path& file) {
  std::map<std::string, std::string> metadata;
  const auto found = header.json.find("__metadata__");
  if (found == header.json.end()) return metadata;
  if (!found->is_object()) refuse_tensors(file, {.found = "__metadata__ is no object"});
  for (const auto& [key, value] : found->items()) {
    if (!value.is_string())
      refuse_tensors(file, {.found = "__metadata__." + shortened(key) + " is no string"});
    metadata[key] = value.get<std::string>();
  }
  return metadata;
}

struct Entry {
  std::string name;
  torch::ScalarType dtype = torch::kFloat32;
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

std::uint64_t whole_number(const Json& value, const std::string& name,
                           const std::filesystem::path& file) {
  if (!value.is_number_unsigned())
    refuse_tensors(file, {.found = "tensor " + shortened(name) + ": " + shortened(value.dump()) +
                                   " as a size or offset",
                          .expected = "a whole number"});
  return value.get<std::uint64_t>();
}

Entry parse_entry(const std::string& name, const Json& json, const std::filesystem::path& file) {
  Entry entry{.name = name};
  if (!json.is_object() || !json.contains("dtype") || !json.contains("shape") ||
      !json.contains("data_offsets"))
    refuse_tensors(file,
                   {.found = "tensor " + shortened(name) + " lacks dtype, shape or data_offsets"});
  const Json& shape = json["shape"];
  const Json& offsets = json["data_offsets"];
  if (!json["dtype"].is_string() || !shape.is_array() || !offsets.is_array() || offsets.size() != 2)
    refuse_tensors(file, {.found = "tensor " + shortened(name) +
                                   ": dtype, shape or data_offsets has the wrong type"});
  const auto dtype = std::find_if(dtypes().begin(), dtypes().end(),
                                  [&](const auto& pair) { return pair.first == json["dtype"]; });
  if (dtype == dtypes().end())
    refuse_tensors(file, {.found = "tensor " + shortened(name) + ": unknown dtype " +
                                   shortened(json["dtype"].dump())});
  entry.dtype = dtype->second;
  entry.begin = whole_number(offsets[0], name, file);
  entry.end = whole_number(offsets[1], name, file);
  std::uint64_t bytes = torch::elementSize(entry.dtype);
  std::uint64_t strides = bytes;  // torch multiplies the lengths beside a zero, too
  bool absurd = shape.size() > kMostDimensions;
  for (const Json& size : shape) {
    const std::uint64_t length = whole_number(size, name, file);
    absurd = absurd ||
             __builtin_mul_overflow(strides, std::max<std::uint64_t>(length, 1), &strides) ||
             strides > kLargestTensorBytes;
    bytes *= length;
    entry.shape.push_back(static_cast<std::int64_t>(length));
  }
  if (absurd)
    refuse_tensors(file, {.found = "tensor " + shortened(name) + ": shape " +
                                   shortened(shape.dump()) + " is absurd"});
  if (entry.end < entry.begin || entry.end - entry.begin != bytes)
    refuse_tensors(file, {.found = "tensor " + shortened(name) + ": shape " +
                                   shortened(shape.dump()) + " does not take the bytes it claims"});
  return entry;
}

// Takes it out of the metadata, which then is what was given to the writer.
void verify_checksum(SafeTensors& content, const std::filesystem::path& file) {
  const auto stored = content.metadata.extract(kChecksum);
  if (!stored) return;  // written by another program
  Checksum found;
  found.add(content.metadata);
  for (const auto& [name, tensor] : content.tensors) found.add(name, tensor);
  content.has_checksum = found.text() == stored.mapped();
  if (content.has_checksum) return;
  refuse_tensors(file, {.found = "the checksum " + found.text(),
                        .expected = printable(stored.mapped().substr(0, 40)) +
                                    ": bits have changed since it was written",
                        .fix = "get it again, or, if it was edited on purpose, remove \"checksum\" "
                               "from its __metadata__"});
}

}  // namespace

SafeTensors read_safetensors(const std::filesystem::path& file) {
  std::ifstream in = open_regular(file);
  const TensorFileHeader header = read_header(in, file);
  SafeTensors content{.tensors = {}, .metadata = metadata_of(header, file)};
  std::vector<Entry> entries;
  for (const auto& [name, json] : header.json.items())
    if (name != "__metadata__") entries.push_back(parse_entry(name, json, file));
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
  });
  std::uint64_t next = 0;
  for (const Entry& entry : entries) {
    if (entry.begin != next)
      refuse_tensors(
          file, {.found = "tensor " + shortened(entry.name) + " overlaps another or leaves a gap"});
    next = entry.end;
  }
  if (next != header.data_bytes) {
    refuse_tensors(file, {.found = "its tensors take " + std::to_string(next) + " bytes, but " +
                                   std::to_string(header.data_bytes) + " are there",
                          .fix = "the file was cut short or damaged, get it again"});
  }
  for (const Entry& entry : entries) {
    torch::Tensor tensor = torch::empty(entry.shape, entry.dtype);
    in.seekg(static_cast<std::streamoff>(header.data_start + entry.begin));
    const auto count = static_cast<std::streamsize>(entry.end - entry.begin);
    if (count > 0 && !in.read(static_cast<char*>(tensor.data_ptr()), count))
      refuse_tensors(file, {.found = "cut short in tensor " + shortened(entry.name)});
    content.tensors[entry.name] = std::move(tensor);
  }
  verify_checksum(content, file);
  return content;
}

std::map<std::string, std::string> read_safetensors_metadata(const std::filesystem::path& file) {
  std::ifstream in = open_regular(file);
  return metadata_of(read_header(in, file), file);
}

void write_safetensors(const std::filesystem::path& file, const SafeTensors& content) {
  std::vector<std::pair<std::string, torch::Tensor>> order;
  Checksum checksum;
  checksum.add(content.metadata);
  for (const auto& [name, tensor] : content.tensors) {
    order.emplace_back(name, tensor.detach().cpu().contiguous());
    checksum.add(name, order.back().second);
  }
  // Wide types first keeps every tensor aligned, as the Python package writes them.
  std::stable_sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return a.second.element_size() > b.second.element_size();
  });
  Json header = Json::object();
  header["__metadata__"] = content.metadata;
  header["__metadata__"][kChecksum] = checksum.text();
  std::uint64_t offset = 0;
  for (const auto& [name, tensor] : order) {
    const std::uint64_t end = offset + tensor.nbytes();
    header[name] = {{"dtype", dtype_name(tensor.scalar_type())},
                    {"shape", tensor.sizes().vec()},
                    {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  char prefix[8];
  for (int i = 0; i < 8; ++i) prefix[i] = static_cast<char>(text.size() >> (8 * i) & 0xff);
  AtomicFile out(file);
  out.write(prefix, sizeof prefix);
  out.write(text);
  for (const auto& [name, tensor] : order) out.write(tensor.data_ptr(), tensor.nbytes());
  out.commit();
}

}  // namespace lamp
