// Header fields as in the NRRD definition (teem.sourceforge.net/nrrd/format.html) and MetaIO's
// documentation.
#include "lamp/data/stored_data.h"

#include <algorithm>
#include <cctype>
#include <fstream>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/data/grid_check.h"
#include "lamp/data/gzip.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t kMostHeaderBytes = 1 << 20;

[[noreturn]] void refuse(const fs::path& path, const std::string& detail) {
  throw InputError("cannot read", path.string(), detail);
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

std::string trimmed(const std::string& text) {
  const auto first = text.find_first_not_of(" \t\r");
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

// A header's fields by name, and the number of bytes up to its end.
struct TextHeader {
  std::map<std::string, std::string> fields;
  std::int64_t bytes = 0;

  // "" if absent.
  std::string get(const std::string& name) const {
    const auto found = fields.find(name);
    return found == fields.end() ? "" : found->second;
  }
};

// Reads lines "name<separator>value" until `last` says that a line is the header's last one.
template <typename Last>
TextHeader read_text_header(const fs::path& path, char separator, Last last) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream) refuse(path, "cannot be opened; check the path and its permissions");
  TextHeader header;
  std::string line;
  while (static_cast<std::size_t>(header.bytes) < kMostHeaderBytes && std::getline(stream, line)) {
    header.bytes += static_cast<std::int64_t>(line.size()) + (stream.eof() ? 0 : 1);
    const std::string text = trimmed(line);
    const auto split = text.find(separator);
    const bool note = text.starts_with('#') || text.substr(0, split + 2).ends_with(":=");
    if (split != std::string::npos && !note) {
      const std::string name = trimmed(text.substr(0, split));
      if (!header.fields.emplace(name, trimmed(text.substr(split + 1))).second)
        refuse(path, "its header says \"" + name + "\" twice; correct the header");
    }
    if (last(text)) return header;
  }
  return header;
}

std::vector<std::int64_t> whole_numbers(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::int64_t> numbers;
  std::int64_t number = 0;
  while (stream >> number) numbers.push_back(number);
  if (!stream.eof()) numbers.clear();
  return numbers;
}

std::int64_t data_bytes(std::vector<std::int64_t> factors, std::int64_t element,
                        const fs::path& path) {
  if (factors.empty()) refuse(path, "its header gives no sizes; the header is damaged");
  factors.push_back(element);
  const auto bytes = checked_product(factors);
  if (!bytes || *bytes == 0)
    refuse(path, "its header gives impossible sizes; the header is damaged");
  return *bytes;
}

// The file that a header names, which lies beside it. Lists and patterns ("slice%03d.raw 1 9 1")
// name several.
fs::path named_file(const fs::path& header, const std::string& name) {
  if (name.empty() || lower(name).starts_with("list") || name.find('%') != std::string::npos)
    refuse(header, "its voxels lie in several files; save them in one");
  return header.parent_path() / name;
}

std::int64_t nrrd_element(const std::string& type, const fs::path& path) {
  static const std::map<std::string, std::int64_t> kBytes = {{"signed char", 1},
                                                             {"int8", 1},
                                                             {"int8_t", 1},
                                                             {"uchar", 1},
                                                             {"unsigned char", 1},
                                                             {"uint8", 1},
                                                             {"uint8_t", 1},
                                                             {"short", 2},
                                                             {"short int", 2},
                                                             {"signed short", 2},
                                                             {"signed short int", 2},
                                                             {"int16", 2},
                                                             {"int16_t", 2},
                                                             {"ushort", 2},
                                                             {"unsigned short", 2},
                                                             {"unsigned short int", 2},
                                                             {"uint16", 2},
                                                             {"uint16_t", 2},
                                                             {"int", 4},
                                                             {"signed int", 4},
                                                             {"int32", 4},
                                                             {"int32_t", 4},
                                                             {"uint", 4},
                                                             {"unsigned int", 4},
                                                             {"uint32", 4},
                                                             {"uint32_t", 4},
                                                             {"longlong", 8},
                                                             {"long long", 8},
                                                             {"long long int", 8},
                                                             {"signed long long", 8},
                                                             {"signed long long int", 8},
                                                             {"int64", 8},
                                                             {"int64_t", 8},
                                                             {"ulonglong", 8},
                                                             {"unsigned long long", 8},
                                                             {"unsigned long long int", 8},
                                                             {"uint64", 8},
                                                             {"uint64_t", 8},
                                                             {"float", 4},
                                                             {"double", 8}};
  const auto found = kBytes.find(lower(type));
  if (found == kBytes.end()) refuse(path, "voxel type \"" + type + "\", expected a number type");
  return found->second;
}

std::int64_t meta_element(const std::string& type, const fs::path& path) {
  static const std::map<std::string, std::int64_t> kBytes = {
      {"MET_CHAR", 1},      {"MET_UCHAR", 1},     {"MET_SHORT", 2}, {"MET_USHORT", 2},
      {"MET_INT", 4},       {"MET_UINT", 4},      {"MET_FLOAT", 4}, {"MET_DOUBLE", 8},
      {"MET_LONG_LONG", 8}, {"MET_ULONG_LONG", 8}};
  const auto found = kBytes.find(type);
  if (found == kBytes.end()) {
    refuse(path, "voxel type \"" + type +
                     "\", expected a number type of fixed size such as "
                     "MET_SHORT; convert the image");
  }
  return found->second;
}

bool is_true(const std::string& text) { return lower(text).starts_with('t') || text == "1"; }

Encoding nrrd_encoding(const std::string& text, const fs::path& path) {
  const std::string name = lower(text);
  if (name == "raw") return Encoding::kRaw;
  if (name == "gzip" || name == "gz") return Encoding::kGzip;
  refuse(path, "encoding \"" + text + "\", expected raw or gzip; save it as gzip");
}

std::int64_t file_bytes(const StoredData& data, const fs::path& path) {
  std::error_code error;
  const auto size = fs::file_size(data.file, error);
  if (error)
    refuse(path, "its voxels' file " + data.file.string() + " cannot be read; put it back");
  return static_cast<std::int64_t>(size) - data.offset;
}

[[noreturn]] void refuse_length(std::int64_t found, std::int64_t expected, const fs::path& path) {
  refuse(path, "found " + std::to_string(found) + " bytes of voxels, expected " +
                   std::to_string(expected) + (found < expected ? ": it is cut short" : "") +
                   "; get the file again");
}

}  // namespace

StoredData locate_nrrd_data(const fs::path& path) {
  bool attached = false;
  const TextHeader header =
      read_text_header(path, ':', [&](const std::string& line) { return attached = line.empty(); });
  for (const char* field : {"line skip", "lineskip", "byte skip", "byteskip"}) {
    const std::string skip = header.get(field);
    if (!skip.empty() && skip != "0")
      refuse(path, std::string("\"") + field + "\" is not supported; save the image in one file");
  }
  const std::string units = header.get("space units");
  for (std::size_t at = units.find('"'); at != std::string::npos; at = units.find('"', at + 1)) {
    const std::size_t end = units.find('"', at + 1);
    const std::string unit = units.substr(at + 1, end == std::string::npos ? end : end - at - 1);
    if (!unit.empty() && unit != "mm")
      refuse(path, "lengths in \"" + unit + "\", expected mm; convert the image");
    if (end == std::string::npos) break;
    at = end;
  }
  StoredData data{.file = path, .offset = header.bytes};
  const bool detached = header.fields.contains("data file") || header.fields.contains("datafile");
  if (detached) {
    data.file = named_file(path, header.get("data file") + header.get("datafile"));
    data.offset = 0;
  } else if (!attached) {
    refuse(path, "its header has no end; the file is cut short or no NRRD file");
  }
  const std::int64_t element = nrrd_element(header.get("type"), path);
  data.bytes = data_bytes(whole_numbers(header.get("sizes")), element, path);
  data.encoding = nrrd_encoding(header.get("encoding"), path);
  const std::string endian = header.get("endian");
  if (endian != "little" && endian != "big" && element > 1)
    refuse(path, "its header does not say \"endian: little\" or \"big\"; correct the header");
  data.big_endian = endian == "big";
  const std::string kinds = header.get("kinds");
  data.channels_last = kinds.starts_with("domain") || kinds.starts_with("space");
  data.has_spacing =
      header.fields.contains("space directions") || header.fields.contains("spacings");
  return data;
}

StoredData locate_meta_data(const fs::path& path) {
  bool complete = false;
  const TextHeader header = read_text_header(path, '=', [&](const std::string& line) {
    return complete = line.starts_with("ElementDataFile");
  });
  if (!complete) refuse(path, "its header has no ElementDataFile; it is cut short or no MetaImage");
  if (header.fields.contains("BinaryData") && !is_true(header.get("BinaryData")))
    refuse(path, "voxels as text; save it with BinaryData = True");
  if (header.fields.contains("HeaderSize") && header.get("HeaderSize") != "0")
    refuse(path, "HeaderSize is not supported; save the image without it");
  if (header.get("NDims") != "3" || header.get("ObjectType") != "Image")
    refuse(path, "expected ObjectType = Image and NDims = 3; save one 3-D image per file");
  StoredData data{.file = path, .offset = header.bytes};
  const std::string name = header.get("ElementDataFile");
  if (lower(name) != "local") {
    data.file = named_file(path, name);
    data.offset = 0;
  }
  std::vector<std::int64_t> factors = whole_numbers(header.get("DimSize"));
  if (header.fields.contains("ElementNumberOfChannels")) {
    const auto channels = whole_numbers(header.get("ElementNumberOfChannels"));
    if (channels.size() != 1)
      refuse(path, "ElementNumberOfChannels is no number; the header is damaged");
    factors.push_back(channels[0]);
  }
  data.bytes = data_bytes(factors, meta_element(header.get("ElementType"), path), path);
  if (is_true(header.get("CompressedData"))) data.encoding = Encoding::kZlib;
  data.big_endian =
      is_true(header.get("BinaryDataByteOrderMSB")) || is_true(header.get("ElementByteOrderMSB"));
  data.has_spacing = header.fields.contains("ElementSpacing");
  return data;
}

void check_stored_size(const StoredData& data, const fs::path& path) {
  const std::int64_t found = file_bytes(data, path);
  if (data.encoding == Encoding::kRaw) {
    if (found != data.bytes) refuse_length(found, data.bytes, path);
    return;
  }
  const std::int64_t most =
      std::max<std::int64_t>(0, found) * static_cast<std::int64_t>(kMaxExpansion);
  if (data.bytes > most) {
    refuse(path, "its header claims " + std::to_string(data.bytes) +
                     " bytes of voxels, but the file cannot hold more than " +
                     std::to_string(most) + ": it is cut short or its header is damaged");
  }
}

std::string read_stored_data(const StoredData& data, const fs::path& path) {
  check_stored_size(data, path);
  std::string stored = read_file(data.file);
  stored.erase(0, static_cast<std::size_t>(data.offset));
  if (data.encoding == Encoding::kRaw) return stored;
  std::string voxels(static_cast<std::size_t>(data.bytes), '\0');
  const auto found = static_cast<std::int64_t>(decompress(
      {.format = data.encoding == Encoding::kGzip ? Compression::kGzip : Compression::kZlib,
       .bytes = stored,
       .out = voxels.data(),
       .capacity = voxels.size()},
      path.string()));
  if (found != data.bytes) refuse_length(found, data.bytes, path);
  return voxels;
}

}  // namespace lamp
