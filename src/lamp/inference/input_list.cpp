// Expanding, grouping, reading.
#include "lamp/inference/input_list.h"

#include <torch/torch.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <set>

#include "lamp/base/errors.h"
#include "lamp/base/text.h"

namespace lamp {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kChannelDigits = 4;

bool hidden(const fs::path& path) { return path.filename().string().rfind('.', 0) == 0; }

std::string expected_formats() {
  return ".nii, .nii.gz, .nrrd, .nhdr, .mha, .mhd or a folder of DICOM slices";
}

// What a folder holds, in a few words.
std::string content_text(const std::vector<fs::path>& entries, const fs::path& folder) {
  if (entries.empty()) return "found an empty folder";
  std::string text = "found " + std::to_string(entries.size()) + " entries (such as " +
                     entries.front().filename().string() + ") but no volume";
  for (const char* name : {"imagesTs", "imagesTr"})
    if (fs::is_directory(folder / name))
      return text + "; did you mean " + (folder / name).string() + "?";
  return text;
}

std::vector<fs::path> visible_entries(const fs::path& folder) {
  std::vector<fs::path> entries;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (!hidden(entry.path())) entries.push_back(entry.path());
  if (error) throw InputError("cannot read", folder.string(), error.message());
  std::sort(entries.begin(), entries.end());
  return entries;
}

std::vector<fs::path> volumes_in(const fs::path& folder) {
  const std::vector<fs::path> entries = visible_entries(folder);
  std::vector<fs::path> volumes;
  for (const fs::path& entry : entries)
    if (fs::is_regular_file(entry) && is_volume_file(entry)) volumes.push_back(entry);
  if (!volumes.empty()) return volumes;
  if (is_volume_file(folder)) return {folder};  // DICOM slices
  for (const fs::path& entry : entries)
    if (fs::is_directory(entry) && is_volume_file(entry)) volumes.push_back(entry);
  if (volumes.empty())
    throw InputError("nothing to segment", folder.string(),
                     content_text(entries, folder) + "; expected " + expected_formats());
  return volumes;
}

std::vector<fs::path> expand(const std::string& input) {
  const fs::path path(input);
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status))
    throw InputError("nothing to segment", input, "found no such file or folder");
  if (fs::is_directory(status)) return volumes_in(path);
  if (!is_volume_file(path))
    throw InputError("nothing to segment", input,
                     "found an unknown format, expected " + expected_formats());
  return {path};
}

// "a_0001" -> 1; -1 if the name does not end so.
int channel_of(const std::string& name) {
  if (name.size() < kChannelDigits + 2 || name[name.size() - kChannelDigits - 1] != '_') return -1;
  const std::string digits = name.substr(name.size() - kChannelDigits);
  const auto digit = [](unsigned char c) { return std::isdigit(c) != 0; };
  return std::all_of(digits.begin(), digits.end(), digit) ? std::stoi(digits) : -1;
}

std::string without_channel(const std::string& name) {
  return name.substr(0, name.size() - kChannelDigits - 1);
}

void check_names(const std::vector<InputCase>& cases) {
  std::map<std::string, const InputCase*> seen;
  for (const InputCase& input : cases) {
    const auto [found, is_new] = seen.emplace(input.name, &input);
    if (!is_new)
      throw UsageError("two inputs are named " + input.name + ": " +
                       found->second->channels.front().string() + " and " +
                       input.channels.front().string() + "; segment them into different folders");
  }
}

// Files of one folder and one stem that count their channels up are one case.
std::vector<InputCase> group_channels(const std::vector<fs::path>& files) {
  std::vector<InputCase> cases;
  std::map<fs::path, std::size_t> places;
  for (const fs::path& file : files) {
    const std::string name = case_name(file);
    if (channel_of(name) < 0) {
      cases.push_back({name, {file}});
      continue;
    }
    const fs::path key = file.parent_path() / without_channel(name);
    const auto [place, is_new] = places.emplace(key, cases.size());
    if (is_new) cases.push_back({without_channel(name), {}});
    cases[place->second].channels.push_back(file);
  }
  for (InputCase& input : cases) std::sort(input.channels.begin(), input.channels.end());
  return cases;
}

[[noreturn]] void refuse_channels(const InputCase& input, std::int64_t found,
                                  std::int64_t in_channels) {
  std::string advice = "expected " + std::to_string(in_channels);
  if (in_channels > 1 && input.channels.size() > 1)
    advice += ", in files " + input.name + "_0000 to " + input.name + "_" +
              (in_channels > 10 ? "00" : "000") + std::to_string(in_channels - 1);
  throw UsageError("wrong number of channels: " + input.channels.front().string() + ": found " +
                   std::to_string(found) + ", " + advice +
                   " as the network takes; use a model that was trained on such images");
}

}  // namespace

std::string InputCase::describe() const {
  const std::string first = channels.front().string();
  return channels.size() == 1 ? first
                              : first + " and " + std::to_string(channels.size() - 1) + " more";
}

std::vector<InputCase> expand_inputs(const std::vector<std::string>& inputs,
                                     std::int64_t in_channels) {
  std::vector<fs::path> files;
  std::set<fs::path> seen;
  for (const std::string& input : inputs)
    for (const fs::path& file : expand(input))
      if (seen.insert(fs::weakly_canonical(file)).second) files.push_back(file);
  if (files.empty()) throw UsageError("segment: -i is needed: files or folders to segment");
  std::vector<InputCase> cases;
  if (in_channels > 1) {
    cases = group_channels(files);
  } else {
    for (const fs::path& file : files) {
      const std::string name = case_name(file);
      cases.push_back({channel_of(name) == 0 ? without_channel(name) : name, {file}});
    }
  }
  check_names(cases);
  return cases;
}

Volume read_case(const InputCase& input, std::int64_t in_channels, const ReadOptions& options) {
  const auto files = static_cast<std::int64_t>(input.channels.size());
  if (files > 1 && files != in_channels) refuse_channels(input, files, in_channels);
  Volume image = read_image(input.channels.front(), options);
  std::vector<torch::Tensor> channels = {image.voxels};
  for (std::size_t i = 1; i < input.channels.size(); ++i) {
    const Volume next = read_image(input.channels[i], options);
    const double apart = corner_distance_voxels(image.geometry, next.geometry);
    if (apart > kSameGridVoxels)
      throw InputError("channels on different grids", input.channels[i].string(),
                       "found " + next.geometry.describe() + ", expected that of " +
                           input.channels.front().string() + " (" + image.geometry.describe() +
                           "; corners " + shortest(apart) + " voxels apart)");
    channels.push_back(next.voxels);
  }
  if (channels.size() > 1) image.voxels = torch::cat(channels);
  if (image.voxels.size(0) != in_channels)
    refuse_channels(input, image.voxels.size(0), in_channels);
  return image;
}

}  // namespace lamp
