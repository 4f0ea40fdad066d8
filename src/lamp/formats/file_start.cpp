// Magic numbers of what is often found in the place of an image.
#include "lamp/formats/file_start.h"

#include <algorithm>
#include <array>
#include <utility>

#include "lamp/base/regular_file.h"
#include "lamp/base/text.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

using Magic = std::pair<std::string_view, const char*>;
constexpr std::array<Magic, 10> kMagics = {
    {{"\x1f\x8b", "gzip data"},
     {"BZh", "bzip2 data"},
     {{"\xfd"
       "7zXZ\0",
       6},
      "xz data"},
     {"\x28\xb5\x2f\xfd", "zstd data"},
     {"PK\x03\x04", "a zip archive"},
     {{"\x00\x05\x16\x07", 4}, "macOS's companion of a file"},
     {"%PDF", "a PDF document"},
     {"\x89PNG", "a PNG picture"},
     {"\xff\xd8\xff", "a JPEG picture"},
     {"<?xml", "XML"}}};

bool is_html(std::string_view bytes) {
  std::string start(bytes.substr(0, 512));
  start = lower(start);
  return start.find("<html") != std::string::npos ||
         start.find("<!doctype html") != std::string::npos;
}

}  // namespace

FileStart read_file_start(const fs::path& path, std::size_t count) {
  const RegularFile file(path);
  return {file.start(count), static_cast<std::uint64_t>(file.size())};
}

std::string describe_start(std::string_view bytes) {
  if (bytes.empty()) return "an empty file";
  if (is_html(bytes)) return "an HTML page";
  for (const auto& [magic, name] : kMagics)
    if (bytes.starts_with(magic)) return name;
  bytes = bytes.substr(0, 512);
  if (std::all_of(bytes.begin(), bytes.end(), [](char c) { return c == '\0'; }))
    return "zeros only";
  const auto is_text = [](unsigned char c) {
    return c >= 32 || c == '\n' || c == '\r' || c == '\t';
  };
  return std::all_of(bytes.begin(), bytes.end(), is_text) ? "text" : "unknown contents";
}

std::string special_kind(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  switch (status.type()) {
    case fs::file_type::regular:
    case fs::file_type::directory:
      return "";
    case fs::file_type::fifo:
      return "a pipe";
    case fs::file_type::socket:
      return "a socket";
    case fs::file_type::block:
    case fs::file_type::character:
      return "a device";
    default:
      return fs::is_symlink(fs::symlink_status(path, error)) ? "a broken link" : "not readable";
  }
}

}  // namespace lamp
