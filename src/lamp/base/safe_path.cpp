// Judged on the text first, then on the disk with every link followed.
#include "lamp/base/safe_path.h"

#include <algorithm>
#include <optional>
#include <system_error>
#include <utility>

#include "lamp/base/errors.h"
#include "lamp/base/text.h"
#include "lamp/base/unicode_form.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t kLongestName = 200;  // file systems take 255, and endings are added

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

bool begins_with(const fs::path& path, const fs::path& folder) {
  const auto [rest, end] = std::mismatch(folder.begin(), folder.end(), path.begin(), path.end());
  return rest == folder.end();
}

// None if that cannot be found out.
std::optional<fs::path> followed(const fs::path& path) {
  std::error_code error;
  fs::path real = fs::weakly_canonical(fs::absolute(path.empty() ? "." : path, error), error);
  if (error) return std::nullopt;
  return real.has_filename() ? real : real.parent_path();  // "folder/"
}

}  // namespace

std::string fault_of_name(const std::string& name) {
  if (name.empty()) return "it is empty";
  if (name == "." || name == "..") return "it is \"" + name + "\", which names a folder";
  if (name.find('/') != std::string::npos) return "it holds a '/'";
  if (name.find('\\') != std::string::npos) return "it holds a '\\'";
  if (std::any_of(name.begin(), name.end(), is_control)) return "it holds a control character";
  if (const auto unseen = unseen_character(name, Joiners::kAllowed))
    return "it holds " + unseen->name + ", a character that nobody sees";
  if (name.size() > kLongestName)
    return "it has " + std::to_string(name.size()) + " bytes, more than " +
           std::to_string(kLongestName);
  return "";
}

void check_name(const std::string& name, const std::string& what, const std::string& file) {
  const std::string fault = fault_of_name(name);
  if (fault.empty()) return;
  throw InputError({.file = file,
                    .what = what,
                    .found = "\"" + printable(name.substr(0, 80)) + "\": " + fault,
                    .expected = "a plain name",
                    .fix = "rename it, or do not trust this data set"});
}

bool lies_inside(const fs::path& folder, const fs::path& path) {
  const auto base = followed(folder), target = followed(path);
  return base && target && begins_with(*target, *base);
}

fs::path real_path(const fs::path& path) {
  if (auto real = followed(path)) return *std::move(real);
  std::error_code error;
  const fs::path absolute = fs::absolute(path, error);
  return (error ? path : absolute).lexically_normal();
}

bool stays_below(const fs::path& relative) {
  if (relative.empty() || relative.is_absolute()) return false;
  int depth = 0;
  for (const fs::path& part : relative) {
    depth += part == ".." ? -1 : part == "." || part.empty() ? 0 : 1;
    if (depth < 0) return false;
  }
  return depth > 0;
}

}  // namespace lamp
