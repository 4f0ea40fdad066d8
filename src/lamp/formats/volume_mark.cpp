// The hash is of the uncompressed file for gzip, as compressors differ, else of the file as it is.
#include "lamp/formats/volume_mark.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/sha256.h"
#include "lamp/formats/gzip.h"
#include "lamp/formats/nifti_header.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t kDigits = 32;  // 128 bits of the hash
constexpr std::size_t kMarkedHeaderBytes = 1 << 16;
constexpr std::size_t kMarkedStartBytes = 1 << 18;  // of a compressed file, enough for that header

std::string before_digits(const std::string& writer) { return writer + " sha256:"; }

// Where the digits stand; npos without a mark.
std::size_t find_digits(std::string_view bytes, const std::string& writer) {
  const std::string text = before_digits(writer);
  const std::size_t at = bytes.substr(0, kMarkedHeaderBytes).find(text);
  if (at == std::string_view::npos || at + text.size() + kDigits > bytes.size())
    return std::string_view::npos;
  return at + text.size();
}

// Of both parts, with zeros for the digits at `at` in the first.
std::string digits_of(std::string_view start, std::size_t at, std::string_view rest) {
  Sha256 hash;
  hash.add(start.substr(0, at));
  hash.add(std::string(kDigits, '0'));
  hash.add(start.substr(at + kDigits));
  hash.add(rest);
  return hash.hex().substr(0, kDigits);
}

std::string first_bytes(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  std::string bytes(kMarkedStartBytes, '\0');
  stream.read(bytes.data(), kMarkedStartBytes);
  bytes.resize(static_cast<std::size_t>(std::max<std::streamsize>(0, stream.gcount())));
  return bytes;
}

// What was hashed, of a file that may claim anything.
std::string content_of(const fs::path& file) {
  std::string packed = read_file(file);
  if (!is_gzip(packed)) return packed;
  const NiftiHeader header =
      parse_nifti_header(gzip_start(packed, kMarkedHeaderBytes), file.string());
  const auto claimed = static_cast<std::size_t>(header.file_bytes());
  if (claimed / kMaxExpansion > packed.size()) return "";
  std::string bytes(claimed, '\0');
  bytes.resize(
      decompress({.bytes = packed, .out = bytes.data(), .capacity = bytes.size()}, file.string()));
  return bytes;
}

bool is_sealed(const fs::path& file, const std::string& writer) {
  std::string start = first_bytes(file);
  if (is_gzip(start)) start = gzip_start(start, kMarkedHeaderBytes);
  if (find_digits(start, writer) == std::string::npos) return false;
  const std::string bytes = content_of(file);
  const std::size_t at = find_digits(bytes, writer);
  return at != std::string::npos && bytes.substr(at, kDigits) == digits_of(bytes, at, "");
}

}  // namespace

std::string unsealed_mark(const std::string& writer) {
  return before_digits(writer) + std::string(kDigits, '0');
}

void seal(std::string& start, std::string_view rest, const std::string& writer) {
  const std::size_t at = find_digits(start, writer);
  if (at == std::string::npos) throw Error("no mark of " + writer + " in a header");
  start.replace(at, kDigits, digits_of(start, at, rest));
}

void seal_file(const fs::path& file, const std::string& writer) {
  const std::string bytes = read_file(file);
  const std::size_t at = find_digits(bytes, writer);
  if (at == std::string::npos) throw Error("no mark of " + writer + " in " + file.string());
  const std::string digits = digits_of(bytes, at, "");
  const int descriptor = open(file.c_str(), O_WRONLY | O_CLOEXEC);
  const bool written =
      descriptor >= 0 && pwrite(descriptor, digits.data(), kDigits, static_cast<off_t>(at)) ==
                             static_cast<ssize_t>(kDigits);
  const int cause = errno;
  if (descriptor >= 0) close(descriptor);
  if (!written) throw Error("cannot write: " + file.string() + ": " + std::strerror(cause));
}

OwnTest own_volume(std::string writer) {
  return [writer = std::move(writer)](const fs::path& file) {
    try {
      return is_sealed(file, writer);
    } catch (const Error&) {  // damaged: no longer what was written
      return false;
    }
  };
}

}  // namespace lamp
