// Numbers are compared as a set, so that the message can say which is missing.
#include "lamp/dataset/channel_names.h"

#include <algorithm>
#include <cctype>
#include <map>

#include "lamp/base/text.h"
#include "lamp/formats/volume_names.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t kDigits = 4;

std::string number_list(const std::map<int, fs::path>& files) {
  std::vector<int> numbers;
  for (const auto& entry : files) numbers.push_back(entry.first);
  return joined(numbers, ", ", " and ");
}

}  // namespace

ChannelName split_channel(const std::string& name) {
  if (name.size() < kDigits + 2 || name[name.size() - kDigits - 1] != '_') return {name};
  const std::string digits = name.substr(name.size() - kDigits);
  const auto is_digit = [](unsigned char c) { return std::isdigit(c) != 0; };
  if (!std::all_of(digits.begin(), digits.end(), is_digit)) return {name};
  return {name.substr(0, name.size() - kDigits - 1), std::stoi(digits)};
}

std::string channel_name(const std::string& stem, int number) {
  std::string digits = std::to_string(number);
  if (digits.size() < kDigits) digits.insert(0, kDigits - digits.size(), '0');
  return stem + "_" + digits;
}

std::vector<ChannelGroup> group_channels(const std::vector<fs::path>& files,
                                         const std::string& ending) {
  std::vector<ChannelGroup> groups;
  std::map<fs::path, std::size_t> places;
  for (const fs::path& file : files) {
    const std::string full = file.filename().string();
    const auto [stem, number] = split_channel(
        ending.empty() ? case_name(file) : full.substr(0, full.size() - ending.size()));
    if (number < 0) {
      groups.push_back({stem, {{number, file}}});
      continue;
    }
    const auto [place, is_new] = places.emplace(file.parent_path() / stem, groups.size());
    if (is_new) groups.push_back({.stem = stem});
    auto& channels = groups[place->second].files;
    const auto after = std::find_if(channels.begin(), channels.end(),
                                    [n = number](const auto& at) { return at.number > n; });
    channels.insert(after, {number, file});
  }
  return groups;
}

std::string channel_fault(const std::vector<ChannelFile>& files, std::size_t expected) {
  std::map<int, fs::path> found;
  for (const ChannelFile& file : files) {
    if (file.number < 0) return file.file.filename().string() + " has no channel in its name";
    const auto [other, is_new] = found.emplace(file.number, file.file);
    if (!is_new)
      return "channel " + std::to_string(file.number) + " is there twice (" +
             other->second.filename().string() + " and " + file.file.filename().string() + ")";
  }
  const std::string all = found.empty() ? "" : " (there is " + number_list(found) + ")";
  for (std::size_t number = 0; number < expected; ++number)
    if (!found.contains(static_cast<int>(number)))
      return "channel " + std::to_string(number) + " is missing" + all;
  if (found.size() > expected)
    return "channel " + std::to_string(found.rbegin()->first) + " is one too many" + all;
  return "";
}

}  // namespace lamp
