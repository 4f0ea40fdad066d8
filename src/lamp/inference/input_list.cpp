// Expanding, grouping, reading.
#include "lamp/inference/input_list.h"

#include <torch/types.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <set>

#include "lamp/base/errors.h"
#include "lamp/base/log.h"
#include "lamp/base/setting_name.h"
#include "lamp/base/text.h"
#include "lamp/dataset/case_volumes.h"
#include "lamp/formats/file_start.h"
#include "lamp/formats/folder_content.h"
#include "lamp/formats/volume_io.h"

namespace lamp {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMostNamed = 20;  // lines for files that are left out

std::vector<fs::path> volumes_in(const fs::path& folder, const std::string& series,
                                 std::vector<LeftOut>& left_out) {
  FolderContent content = list_folder(folder, series);
  if (!content.torn.empty()) throw InputError(content.torn.front());
  if (content.volumes.empty()) {
    Fault fault = no_volume_fault(content, folder);
    fault.what = "nothing to segment";
    throw InputError(std::move(fault));
  }
  std::move(content.left_out.begin(), content.left_out.end(), std::back_inserter(left_out));
  return std::move(content.volumes);
}

std::vector<fs::path> expand(const std::string& input, const std::string& series,
                             std::vector<LeftOut>& left_out) {
  const fs::path path(input);
  std::error_code error;
  if (!fs::exists(fs::symlink_status(path, error)))
    throw InputError({.file = input,
                      .what = "nothing to segment",
                      .found = "no such file or folder",
                      .expected = kReadFormats,
                      .fix = "check the path"});
  if (const std::string kind = special_kind(path); !kind.empty())
    throw InputError({.file = input,
                      .what = "nothing to segment",
                      .found = kind,
                      .expected = "a regular file or a folder",
                      .fix = "check the path"});
  if (fs::is_directory(path, error)) return volumes_in(path, series, left_out);
  if (is_volume_file(path)) return {path};
  throw InputError(unread_file(path, "nothing to segment"));
}

// Few lines for many files; images that are not read come first.
void tell(const std::vector<LeftOut>& left_out) {
  std::size_t told = 0, others = 0;
  const std::vector<LeftOut> entries = one_a_series(left_out);
  for (const bool images : {true, false}) {
    for (const LeftOut& entry : entries) {
      if (entry.is_image != images) continue;
      if (++told > kMostNamed)
        others += entry.files;
      else
        images ? log_warning(entry.describe()) : log_info(entry.describe());
    }
  }
  if (others > 0) log_info(counted(others, "more file") + " left out (segment.json has all)");
}

void check_names(const std::vector<InputCase>& cases) {
  std::map<std::string, const InputCase*> seen;
  for (const InputCase& input : cases) {
    const auto [found, is_new] = seen.emplace(input.name, &input);
    if (!is_new)
      throw UsageError("two inputs are named " + input.name + ": " +
                       found->second->first().string() + " and " + input.first().string() +
                       "; segment them into different folders");
  }
}

fs::path channel_key(const fs::path& file) {
  return file.parent_path() / split_channel(case_name(file)).stem;
}

std::vector<InputCase> grouped_files(const std::vector<fs::path>& files) {
  std::vector<InputCase> cases;
  for (ChannelGroup& group : group_channels(files))
    cases.push_back({.name = std::move(group.stem), .files = std::move(group.files)});
  return cases;
}

// For a network of one channel: numbers other than 0 beside it show that they count cases.
std::vector<InputCase> single_files(const std::vector<fs::path>& files) {
  std::set<fs::path> counted;
  for (const fs::path& file : files)
    if (split_channel(case_name(file)).number > 0) counted.insert(channel_key(file));
  std::vector<InputCase> cases;
  for (const fs::path& file : files) {
    const ChannelName name = split_channel(case_name(file));
    const bool channel = name.number == 0 && !counted.contains(channel_key(file));
    if (name.number == 0 && !channel)
      log_info(case_name(file) +
               " and its neighbours are taken as cases of their own, for the "
               "network takes one channel: " +
               file.parent_path().string());
    cases.push_back({.name = channel ? name.stem : case_name(file), .files = {{-1, file}}});
  }
  return cases;
}

void check_numbers(const InputCase& input, std::int64_t in_channels) {
  if (input.files.front().number < 0) return;
  // As many as the files, in order: then only their number may be another one than the network's.
  if (channel_fault(input.files, input.files.size()).empty()) return;
  throw InputError(
      {.file = input.first().string(),
       .what = "channels missing or unknown",
       .found = "that " + channel_fault(input.files, static_cast<std::size_t>(in_channels)) +
                " of case " + input.name,
       .expected = "0 to " + std::to_string(in_channels - 1) + ", as the network takes",
       .fix = "add the missing files or rename them"});
}

[[noreturn]] void refuse_channels(const InputCase& input, std::int64_t found,
                                  std::int64_t in_channels) {
  std::string expected = std::to_string(in_channels);
  if (in_channels > 1 && input.files.size() > 1)
    expected += ", in files " + input.name + "_0000 to " + input.name + "_" +
                (in_channels > 10 ? "00" : "000") + std::to_string(in_channels - 1);
  throw InputError({.file = input.first().string(),
                    .what = "wrong number of channels",
                    .found = std::to_string(found),
                    .expected = expected + " as the network takes",
                    .fix = "use a model that was trained on such images"});
}

}  // namespace

std::string InputCase::describe() const {
  const std::string name = first().string();
  return files.size() == 1 ? name : name + " and " + std::to_string(files.size() - 1) + " more";
}

std::vector<InputCase> expand_inputs(const std::vector<std::string>& inputs,
                                     std::int64_t in_channels, std::vector<LeftOut>* left_out,
                                     const std::string& dicom_series) {
  std::vector<fs::path> files;
  std::vector<LeftOut> others;
  std::set<fs::path> seen;
  for (const std::string& input : inputs)
    for (const fs::path& file : expand(input, dicom_series, others))
      if (seen.insert(entry_place(file)).second) files.push_back(file);
  if (files.empty())
    throw UsageError("segment: " + setting_name("inputs") +
                     " is needed: files or folders to segment");
  for (const std::string& input : inputs) seen.insert(entry_place(input));
  std::erase_if(others, [&](const LeftOut& file) {
    return seen.contains(entry_place(file.file));  // it was named by itself
  });
  tell(others);
  std::vector<InputCase> cases = in_channels > 1 ? grouped_files(files) : single_files(files);
  check_names(cases);
  if (left_out) std::move(others.begin(), others.end(), std::back_inserter(*left_out));
  return cases;
}

Volume read_case(const InputCase& input, std::int64_t in_channels, const ReadOptions& options) {
  const auto files = static_cast<std::int64_t>(input.files.size());
  if (files > 1) check_numbers(input, in_channels);
  if (files > 1 && files != in_channels) refuse_channels(input, files, in_channels);
  std::vector<fs::path> channels;
  for (const ChannelFile& channel : input.files) channels.push_back(channel.file);
  Volume image = read_channels(channels, options);
  if (files == 1 && image.voxels.size(0) == 1 && in_channels > 1)
    check_numbers(input, in_channels);  // a single channel of several, unless it is the first
  if (image.voxels.size(0) != in_channels)
    refuse_channels(input, image.voxels.size(0), in_channels);
  return image;
}

}  // namespace lamp
