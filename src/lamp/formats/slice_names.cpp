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
constexpr std::array<const char*, 12> kUnfinished = {
    ".gz",  ".bz2",     ".xz",       ".zst",        ".z",        ".part",
    ".tmp", ".partial", ".download", ".crdownload", ".filepart", ".aria2"};
// Files without an extension that lie beside images.
constexpr std::array<const char*, 18> kKnown = {
    "dicomdir",  "readme",  "license",  "licence", "version", "lockfile",
    "changelog", "changes", "manifest", "authors", "copying", "notice",
    "citation",  "index",   "contents", "md5sums", "md5sum",  "sha256sums"};

template <typename List>
bool contains(const List& list, const std::string& text) {
  return std::find(list.begin(), list.end(), text) != list.end();
}

}  // namespace

std::string slice_extension(const fs::path& file) {
  const std::string extension = lower(file.extension().string());
  const bool digits = std::all_of(extension.begin(), extension.end(),
                                  [](unsigned char c) { return c == '.' || std::isdigit(c) != 0; });
  return digits ? "" : extension;
}

bool may_be_slice(const fs::path& file, const std::set<std::string>& slice_extensions) {
  fs::path name = file.filename();
  if (name.string().starts_with('.')) return false;
  if (contains(kUnfinished, lower(name.extension().string()))) name = name.stem();
  const std::string extension = slice_extension(name);
  if (extension.empty()) return !contains(kKnown, lower(name.string()));
  return contains(kDicom, extension) || slice_extensions.contains(extension);
}

bool has_dicom_extension(const fs::path& file) {
  return contains(kDicom, slice_extension(file)) && !file.filename().string().starts_with('.');
}

}  // namespace lamp
