// A look at the beginning of a file that may be anything: what a download left behind, a pipe, a
// text, a picture.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <string_view>

namespace lamp {

inline constexpr std::size_t kWholeFile = std::numeric_limits<std::size_t>::max();

struct FileStart {
  std::string bytes;
  std::uint64_t file_size = 0;
};

// At most `count` bytes. Never waits for a pipe. Throws InputError for what is no regular file or
// cannot be opened.
FileStart read_file_start(const std::filesystem::path& path, std::size_t count);

// "an HTML page", "gzip data", "text", ..., judged by the first bytes.
std::string describe_start(std::string_view bytes);

// "a broken link", "a pipe", "a socket", "a device"; empty for regular files and folders.
std::string special_kind(const std::filesystem::path& path);

}  // namespace lamp
