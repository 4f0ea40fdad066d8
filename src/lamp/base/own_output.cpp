// What is there is looked at without following links: to replace a link would lose it, to follow it
// would write somewhere that nobody named.
#include "lamp/base/own_output.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <set>
#include <string_view>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/interrupt.h"
#include "lamp/base/log.h"
#include "lamp/base/safe_path.h"
#include "lamp/base/setting_name.h"
#include "lamp/base/text.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t kLongestFileName = 255;    // bytes, on every usual file system
constexpr std::size_t kMarkBytes = 4096;         // a mark stands at the start
constexpr std::size_t kLargestJson = 1UL << 30;  // a larger one is none of ours
constexpr const char* kWrittenBy = "written_by";
constexpr const char* kSvgMark = "<!-- written by lamp -->";

std::string first_bytes(const fs::path& file, std::size_t count) {
  std::ifstream stream(file, std::ios::binary);
  std::string bytes(count, '\0');
  stream.read(bytes.data(), static_cast<std::streamsize>(count));
  bytes.resize(static_cast<std::size_t>(std::max<std::streamsize>(0, stream.gcount())));
  return bytes;
}

[[noreturn]] void refuse_output(const PlannedOutput& output, const std::string& detail) {
  throw UsageError(output.option + ": " + output.file.string() + ": " + detail);
}

const char* kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "a folder";
  if (S_ISLNK(mode)) return "a symbolic link";
  if (S_ISFIFO(mode)) return "a pipe";
  if (S_ISSOCK(mode)) return "a socket";
  return "a device";
}

std::string advice_for(mode_t mode) {
  if (S_ISDIR(mode)) return "expected the name of a file; choose another name";
  if (S_ISLNK(mode)) return "which would be lost; name a file that is no link";
  return "expected a file; " + setting_name("json") + " prints to the standard output";
}

// The same file under the same name, whatever links its folder is reached by.
fs::path place_of(const fs::path& file) { return real_path(file.parent_path()) / file.filename(); }

fs::path folder_of(const fs::path& file) {
  return file.has_parent_path() ? file.parent_path() : fs::path(".");
}

// NaN, Infinity and -Infinity outside of strings, which dump_json() writes and no parser takes,
// become 0. (The length stays: spaces fill the rest.)
std::string with_defined_numbers(std::string text) {
  bool inside = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '"') inside = !inside;
    if (inside && text[i] == '\\') ++i;  // whatever is escaped
    if (inside) continue;
    for (const std::string_view word : {"NaN", "Infinity", "-Infinity"})
      if (text.compare(i, word.size(), word) == 0)
        text.replace(i, word.size(), "0" + std::string(word.size() - 1, ' '));
  }
  return text;
}

// Whom a JSON object names as its writer; empty if none.
std::string writer_of(const fs::path& file) {
  try {
    const Json found =
        parse_json(with_defined_numbers(read_file(file, kLargestJson)), file.string());
    const Json writer = found.is_object() ? found.value(kWrittenBy, Json()) : Json();
    return writer.is_string() ? writer.get<std::string>() : "";
  } catch (const Error&) {
    return "";
  }
}

}  // namespace

OwnTest own_json(std::string writer) {
  return [writer = std::move(writer)](const fs::path& file) { return writer_of(file) == writer; };
}

OwnTest own_json_of_any() {
  return [](const fs::path& file) { return writer_of(file).starts_with("lamp "); };
}

Json written_by(const std::string& writer, Json object) {
  object[kWrittenBy] = writer;
  return object;
}

OwnTest own_svg() {
  return [](const fs::path& file) {
    const std::string start = first_bytes(file, kMarkBytes);
    return start.starts_with("<svg") && start.find(kSvgMark) != std::string::npos;
  };
}

std::string svg_written_by_lamp(std::string svg) {
  const std::size_t root = svg.find('>');
  if (root == std::string::npos) return svg;
  return svg.substr(0, root + 1) + '\n' + kSvgMark + svg.substr(root + 1);
}

OwnTest own_table(std::string header_line) {
  return [header = std::move(header_line) + "\n"](const fs::path& file) {
    return first_bytes(file, header.size()) == header;
  };
}

bool OutputList::Stamp::operator==(const Stamp& other) const {
  return device == other.device && inode == other.inode && bytes == other.bytes &&
         changed.tv_sec == other.changed.tv_sec && changed.tv_nsec == other.changed.tv_nsec;
}

// None if nothing is there. Throws UsageError for what is no file.
std::optional<OutputList::Stamp> OutputList::stamp_of(const PlannedOutput& output) {
  struct stat status {};
  if (lstat(output.file.c_str(), &status) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
    if (errno == ENAMETOOLONG || errno == ELOOP)
      refuse_output(output, std::string(std::strerror(errno)) + "; choose another name");
    throw Error("cannot write: " + output.file.string() + ": " + std::strerror(errno) +
                "; choose another folder");
  }
  if (!S_ISREG(status.st_mode))
    refuse_output(output, std::string("found ") + kind_of(status.st_mode) + ", " +
                              advice_for(status.st_mode));
  return Stamp{status.st_dev, status.st_ino, status.st_size, status.st_ctim};
}

const PlannedOutput& OutputList::planned(const fs::path& file) const {
  const auto found = std::find_if(outputs_.begin(), outputs_.end(),
                                  [&](const PlannedOutput& output) { return output.file == file; });
  if (found == outputs_.end()) throw Error("cannot write: " + file.string() + ": not planned");
  return *found;
}

void OutputList::check() {
  check_names();
  check_inputs();
  check_contents();
  check_folders();
}

void OutputList::check_names() const {
  std::map<fs::path, const PlannedOutput*> places;
  std::map<std::string, const PlannedOutput*> folded_places;
  for (const PlannedOutput& output : outputs_) {
    const std::string name = output.file.filename().string();
    if (name.empty() || name == "." || name == ".." || name == "-")
      refuse_output(output, "found no file name, expected one; " + setting_name("json") +
                                " prints to the standard output");
    if (name.size() > kLongestFileName)
      refuse_output(output, "found a name of " + std::to_string(name.size()) +
                                " bytes, expected at most " + std::to_string(kLongestFileName) +
                                "; choose a shorter one");
    const fs::path place = place_of(output.file);
    if (const auto [other, is_new] = places.emplace(place, &output); !is_new)
      throw UsageError(output.option + " and " + other->second->option + " name the same file, " +
                       output.file.string() + ": give each its own");
    if (const auto [other, is_new] = folded_places.emplace(lower(place.string()), &output); !is_new)
      log_warning(output.file.string() + " and " + other->second->file.filename().string() +
                  " differ in case only: one replaces the other where the disk ignores case");
  }
}

// By device and inode, so that no link hides an input.
void OutputList::check_inputs() const {
  std::map<std::pair<dev_t, ino_t>, const fs::path*> inputs;
  struct stat status {};
  for (const fs::path& input : inputs_)
    if (stat(input.c_str(), &status) == 0)
      inputs.emplace(std::make_pair(status.st_dev, status.st_ino), &input);
  for (const PlannedOutput& output : outputs_) {
    if (stat(output.file.c_str(), &status) != 0) continue;
    const auto input = inputs.find({status.st_dev, status.st_ino});
    if (input != inputs.end())
      refuse_output(output, "the output would replace the input " + input->second->string() +
                                "; choose another name or folder");
  }
}

void OutputList::check_contents() {
  const PlannedOutput* first = nullptr;
  std::size_t foreign = 0;
  const bool stopped_before = caught_signal() != 0;  // for whoever asked then to hear
  seen_.clear();
  for (const PlannedOutput& output : outputs_) {
    const auto found = seen_[output.file] = stamp_of(output);
    if (!found) continue;
    if (!stopped_before) throw_if_interrupted("nothing was written");  // large volumes take time
    if (output.is_own(output.file)) continue;
    if (first == nullptr) first = &output;
    ++foreign;
  }
  if (first == nullptr) return;
  const std::string others =
      foreign > 1 ? " (and " + std::to_string(foreign - 1) + " more such files)" : "";
  refuse_output(*first, "found a file that lamp did not write here, or that was changed since" +
                            others +
                            "; it is not replaced: choose another name or folder, or move it away");
}

// Of the nearest folder that exists: those below it can be created if it can be written.
void OutputList::check_folders() const {
  std::set<fs::path> folders;
  for (const PlannedOutput& output : outputs_) folders.insert(folder_of(output.file));
  for (fs::path folder : folders) {
    const std::string named = folder.string();
    std::error_code error;
    while (!fs::exists(folder, error) && !error && folder != folder_of(folder))
      folder = folder_of(folder);
    const bool is_folder = fs::is_directory(folder, error);
    if (is_folder && access(folder.c_str(), W_OK | X_OK) == 0) continue;
    throw Error("cannot create files in: " + named + ": " +
                (is_folder ? std::strerror(errno) : folder.string() + " is no folder") +
                "; choose another folder");
  }
}

void OutputList::make_folders() const {
  std::set<fs::path> folders;
  for (const PlannedOutput& output : outputs_) folders.insert(folder_of(output.file));
  for (const fs::path& folder : folders) make_output_folder(folder);
  for (const PlannedOutput& output : outputs_) remove_stale_temporaries_of(output.file);
}

void OutputList::confirm(const fs::path& file) const {
  const PlannedOutput& output = planned(file);
  const std::optional<Stamp> now = stamp_of(output);
  if (!now || now == seen_.at(file) || output.is_own(file)) return;
  refuse_output(output,
                "found a file that was not there before and that lamp did not write; it is not "
                "replaced: choose another name or folder");
}

bool OutputList::remove_older(const fs::path& file) const {
  const PlannedOutput& output = planned(file);
  try {
    const std::optional<Stamp> now = stamp_of(output);
    if (!now || !(now == seen_.at(file) || output.is_own(file))) return false;
  } catch (const Error&) {  // not ours to remove
    return false;
  }
  std::error_code error;
  return fs::remove(file, error);
}

}  // namespace lamp
