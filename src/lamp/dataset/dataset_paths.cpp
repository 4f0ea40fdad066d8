// Judged on the text: a path that leaves the folder is refused even where a link would lead it back
// by another way, unless the disk says that it ends inside all the same.
#include "lamp/dataset/dataset_paths.h"

#include <algorithm>
#include <atomic>
#include <cctype>
#include <mutex>
#include <set>
#include <system_error>

#include "lamp/base/safe_path.h"
#include "lamp/base/setting_name.h"
#include "lamp/base/text.h"
#include "lamp/base/unicode_form.h"
#include "lamp/dataset/datalist_parser.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

// Of a path and of one name in it, as Linux limits them.
constexpr std::size_t kLongestPath = 4095, kLongestName = 255;

std::atomic<bool> outside_allowed = false;

struct TrustedLists {
  std::mutex mutex;
  std::set<fs::path> lists;  // guarded by mutex; links followed
};

TrustedLists& trusted() {
  static TrustedLists lists;
  return lists;
}

bool is_trusted(const fs::path& json) {
  if (outside_allowed) return true;
  const std::lock_guard lock(trusted().mutex);
  return trusted().lists.contains(real_path(json));
}

fs::path absolute_folder(const fs::path& folder) {
  std::error_code error;
  const fs::path path = (folder.empty() ? fs::current_path(error) : fs::absolute(folder, error));
  const fs::path normal = path.lexically_normal();
  return normal.filename().empty() ? normal.parent_path() : normal;  // "folder/"
}

bool is_ascii(const std::string& text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

bool is_there(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

// Why no file can have this path; empty if one can.
std::string fault_of_path(const std::string& text) {
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  if (text.empty()) return "it is empty";
  if (std::any_of(text.begin(), text.end(), is_control)) return "it holds a control character";
  if (text.size() > kLongestPath) return "it has " + std::to_string(text.size()) + " bytes";
  for (const fs::path& part : fs::path(text))
    if (part.string().size() > kLongestName)
      return "a name in it has " + std::to_string(part.string().size()) + " bytes";
  return "";
}

// "C:\data\x.nii.gz" or "\\server\x.nii.gz", with slashes of either kind.
bool is_windows_absolute(const std::string& text) {
  const bool drive = text.size() > 2 && std::isalpha(static_cast<unsigned char>(text[0])) &&
                     text[1] == ':' && (text[2] == '\\' || text[2] == '/');
  return drive || text.starts_with("\\\\");
}

std::string shown(const std::string& text) {
  return in_quotes(printable(text.size() > 120 ? text.substr(0, 117) + "..." : text));
}

}  // namespace

void allow_outside_files(bool allowed) { outside_allowed = allowed; }

void trust_dataset(const fs::path& json) {
  const std::lock_guard lock(trusted().mutex);
  trusted().lists.insert(real_path(json));
}

DatasetPaths::DatasetPaths(const fs::path& json)
    : root_(json.parent_path()),
      absolute_(absolute_folder(json.parent_path())),
      may_leave_(is_trusted(json)) {}

bool DatasetPaths::is_inside(const fs::path& file) const {
  std::error_code error;
  const fs::path target = fs::absolute(file, error).lexically_normal();
  const auto [rest, end] =
      std::mismatch(absolute_.begin(), absolute_.end(), target.begin(), target.end());
  return rest == absolute_.end() || lies_inside(absolute_, target);
}

std::optional<fs::path> DatasetPaths::resolve(const fs::path& base, const std::string& text,
                                              Fault& why) {
  const std::string fault = fault_of_path(text);
  if (!fault.empty()) {
    why = {.what = "a path that no file has",
           .found = shown(text) + ": " + fault,
           .expected = "the path of a file",
           .fix = "correct this entry"};
    return std::nullopt;
  }
  fs::path file = (base / text).lexically_normal();
  if (text.find('\\') != std::string::npos && !is_there(file)) {
    std::string slashes = text;
    std::replace(slashes.begin(), slashes.end(), '\\', '/');
    file = (base / slashes).lexically_normal();
    ++backslashes_;
  }
  if (is_windows_absolute(text) && !is_there(file)) {
    why = {.what = "a path of another machine",
           .found = shown(text),
           .expected = "a path relative to " + (root_.empty() ? "the list" : root_.string()),
           .fix = "write where the file lies on this machine"};
    return std::nullopt;
  }
  if (!may_leave_ && !is_inside(file)) {
    why = {.what = "a file outside the data set's folder",
           .found = shown(text),
           .expected = "a file in " + absolute_.string(),
           .fix = "link or copy it there, or give " + setting_name("allow_outside") +
                  " if you trust this list"};
    return std::nullopt;
  }
  return on_disk(file);
}

const DatasetPaths::Names& DatasetPaths::names_in(const fs::path& folder) {
  const auto [known, added] = names_.try_emplace(folder);
  if (!added) return known->second;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().filename().string();
    if (!is_ascii(name)) known->second.emplace(decomposed(name), name);
  }
  return known->second;
}

fs::path DatasetPaths::on_disk(const fs::path& file) {
  if (is_ascii(file.string()) || is_there(file)) return file;
  fs::path found;
  for (const fs::path& part : file) {
    if (is_ascii(part.string()) || is_there(found / part)) {
      found /= part;
      continue;
    }
    const Names& names = names_in(found.empty() ? "." : found);
    const auto same = names.find(decomposed(part.string()));
    if (same == names.end()) return file;
    found /= same->second;
  }
  if (!is_there(found)) return file;
  if (other_forms_++ == 0) first_other_form_ = found.filename().string();
  return found;
}

std::vector<std::string> DatasetPaths::notes() const {
  std::vector<std::string> notes;
  if (backslashes_ > 0)
    notes.push_back(counted(backslashes_, "path") +
                    " with backslashes, as Windows writes them, read with slashes");
  if (other_forms_ > 0)
    notes.push_back(counted(other_forms_, "file name") +
                    " in another form of Unicode than on the disk, such as " + first_other_form_ +
                    ", found all the same");
  return notes;
}

}  // namespace lamp
