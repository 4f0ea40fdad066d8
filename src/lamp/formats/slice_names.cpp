// Lists of names, since nothing else is left of such a file.
#include "lamp/formats/slice_names.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "lamp/base/text.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

constexpr std::array<const char*, 4> kDicom = {".dcm", ".dicom", ".dic", ".ima"};
constexpr std::array<const char*, 26> kUnfinished = {
    ".gz",      ".bz2",      ".xz",         ".zst",      ".z",     ".zip",        ".7z",
    ".rar",     ".lz4",      ".lzma",       ".tar",      ".tgz",   ".part",       ".tmp",
    ".partial", ".download", ".crdownload", ".filepart", ".aria2", ".opdownload", ".unfinished",
    ".bak",     ".old",      ".orig",       ".swp",      "~"};
// Files without an extension that lie beside images.
constexpr std::array<const char*, 18> kKnown = {
    "dicomdir",  "readme",  "license",  "licence", "version", "lockfile",
    "changelog", "changes", "manifest", "authors", "copying", "notice",
    "citation",  "index",   "contents", "md5sums", "md5sum",  "sha256sums"};

template <typename List>
bool contains(const List& list, const std::string& text) {
  return std::find(list.begin(), list.end(), text) != list.end();
}

// Without what was put behind it: "a.dcm" of "a.dcm.tar.gz" and of "a.dcm~".
std::string finished(std::string name) {
  for (bool again = true; again;) {
    again = false;
    for (const char* ending : kUnfinished) {
      if (name.size() <= std::string(ending).size() || !lower(name).ends_with(ending)) continue;
      name.resize(name.size() - std::string(ending).size());
      again = true;
    }
  }
  return name;
}

}  // namespace

std::string slice_extension(const fs::path& file) {
  const std::string extension = lower(file.extension().string());
  const bool digits = std::all_of(extension.begin(), extension.end(),
                                  [](unsigned char c) { return c == '.' || std::isdigit(c) != 0; });
  return digits ? "" : extension;
}

bool may_be_slice(const fs::path& file, const std::set<std::string>& slice_extensions) {
  if (file.filename().string().starts_with('.')) return false;
  const fs::path name = finished(file.filename().string());
  const std::string extension = slice_extension(name);
  if (extension.empty()) return !contains(kKnown, lower(name.string()));
  return contains(kDicom, extension) || slice_extensions.contains(extension);
}

bool has_dicom_extension(const fs::path& file) {
  return contains(kDicom, slice_extension(file)) && !file.filename().string().starts_with('.');
}

}  // namespace lamp
