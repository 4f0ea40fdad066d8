// nnU-Net v2 lists no cases: they follow from file names, imagesTr/<case>_<channel, 4
// digits><file_ending> and labelsTr/<case><file_ending>; or from an optional member "dataset":
// {"<case>": {"images": [...], "label": "..."}}.
#include <algorithm>

#include "lamp/base/log.h"
#include "lamp/data/channel_names.h"
#include "lamp/data/datalist_parser.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

struct Folder {
  fs::path images, labels;
  std::string ending;
  bool needs_label;
};

using Channels = std::map<int, fs::path>;

// By case name; a file that cannot be placed is a fault.
std::map<std::string, Channels> group_files(const Folder& folder, const FaultSink& sink) {
  std::map<std::string, Channels> cases;
  std::vector<fs::path> files;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder.images, error))
    files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  for (const fs::path& file : files) {
    const std::string name = file.filename().string();
    if (is_hidden(file) || !name.ends_with(folder.ending)) continue;
    const auto [stem, channel] = split_channel(name.substr(0, name.size() - folder.ending.size()));
    if (channel >= 0) {
      cases[stem][channel] = file;
    } else {
      sink.add({.file = file.string(),
                .what = "a file name without a channel",
                .found = name,
                .expected = "<case>_0000" + folder.ending,
                .fix = "rename it"});
    }
  }
  return cases;
}

std::optional<Case> make_case(const std::string& name, const Channels& channels,
                              const Folder& folder, const Dataset& dataset, const FaultSink& sink) {
  Case entry{.name = name};
  for (const auto& [channel, file] : channels) entry.images.push_back(file);
  const std::size_t expected = std::max<std::size_t>(dataset.channels.size(), 1);
  std::vector<ChannelFile> numbers;
  for (const auto& [channel, file] : channels) numbers.push_back({channel, file});
  if (const std::string wrong = channel_fault(numbers, expected); !wrong.empty()) {
    sink.add({.file = entry.images.front().string(),
              .what = "channels missing or unknown",
              .found = wrong + " of case " + name,
              .expected = "0 to " + std::to_string(expected - 1) + " as channel_names says",
              .fix = "add the missing files or correct channel_names"});
    return std::nullopt;
  }
  const fs::path label = folder.labels / (name + folder.ending);
  std::error_code error;
  if (folder.needs_label || fs::exists(label, error)) entry.label = label;
  return entry;
}

std::vector<Case> find_cases(const Folder& folder, const Dataset& dataset, const FaultSink& sink) {
  std::vector<Case> cases;
  for (const auto& [name, channels] : group_files(folder, sink))
    if (auto entry = make_case(name, channels, folder, dataset, sink))
      cases.push_back(std::move(*entry));
  return cases;
}

std::vector<Case> read_table(const Json& table, const Dataset& dataset, const FaultSink& sink) {
  std::vector<Case> cases;
  for (const auto& [name, value] : table.items()) {
    const EntryParser parser{dataset, sink, dataset.root, "dataset[\"" + name + "\"]"};
    if (!value.is_object() || !value.contains("images")) {
      parser.wrong_key(value.is_object() ? value : Json::object(), "images");
      continue;
    }
    const auto images = parser.images(value["images"]);
    const auto label = parser.text(value, "label", true);
    Case entry{.name = name};
    if (!images || !label || !parser.details(value, entry)) continue;
    entry.images = *images;
    entry.label = (dataset.root / *label).lexically_normal();
    cases.push_back(std::move(entry));
  }
  return cases;
}

std::string first_file(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (!is_hidden(entry.path())) names.push_back(entry.path().filename().string());
  if (names.empty()) return "no file";
  return std::to_string(names.size()) + " files such as " +
         *std::min_element(names.begin(), names.end());
}

}  // namespace

void find_nnunet_cases(const Json& root, Dataset& dataset, const FaultSink& sink) {
  std::error_code error;
  const bool table = root.contains("dataset") && root["dataset"].is_object();
  if (!table && !fs::is_directory(dataset.root / "imagesTr", error))
    throw InputError(
        "a data set without cases", dataset.file.string(),
        "found the keys " + what_keys(root) +
            R"( and no folder imagesTr beside, expected "training": [...] or that folder)");
  std::string ending;
  if (root.contains("file_ending") && root["file_ending"].is_string())
    ending = root["file_ending"].get<std::string>();
  if (!table && ending.empty())
    throw InputError("no file ending", dataset.file.string(),
                     "found the keys " + what_keys(root) +
                         R"(, expected "file_ending": ".nii.gz" (nnU-Net) or "training")");
  const Folder training{dataset.root / "imagesTr", dataset.root / "labelsTr", ending, true};
  const Folder test{dataset.root / "imagesTs", dataset.root / "labelsTs", ending, false};
  dataset.training =
      table ? read_table(root["dataset"], dataset, sink) : find_cases(training, dataset, sink);
  if (!ending.empty()) dataset.test = find_cases(test, dataset, sink);
  const bool explained = sink.faults && !sink.faults->empty();
  if (!table && !explained && dataset.training.empty() && dataset.test.empty())
    throw InputError(
        "a data set without cases", dataset.file.string(),
        "found " + first_file(training.images) + " in imagesTr, expected <case>_0000" + ending);
  const auto found = static_cast<std::int64_t>(dataset.training.size());
  if (dataset.declared_training && *dataset.declared_training != found && !sink.faults)
    log_warning(dataset.file.string() + ": numTraining says " +
                std::to_string(*dataset.declared_training) + ", found " + std::to_string(found) +
                " cases");
}

}  // namespace lamp
