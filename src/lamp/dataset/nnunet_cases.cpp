// nnU-Net v2 lists no cases: they follow from file names, imagesTr/<case>_<channel, 4
// digits><file_ending> and labelsTr/<case><file_ending>; or from an optional member "dataset":
// {"<case>": {"images": [...], "label": "..."}}.
#include "lamp/dataset/nnunet_cases.h"

#include <algorithm>
#include <system_error>

#include "lamp/base/files.h"
#include "lamp/base/safe_path.h"
#include "lamp/base/text.h"
#include "lamp/dataset/channel_names.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

struct Folder {
  fs::path images, labels;
  std::string ending;
  bool needs_label;
  DatasetPaths& paths;
};

// Those of the folder that end as the data set's files do.
std::vector<fs::path> files_of(const Folder& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::directory_iterator at(folder.images, error), end; !error && at != end;
       at.increment(error))
    if (!is_hidden(at->path()) && at->path().filename().string().ends_with(folder.ending))
      files.push_back(at->path());
  if (error && error != std::errc::no_such_file_or_directory)
    throw InputError(unreadable(folder.images.string(), error.value()));
  std::sort(files.begin(), files.end());
  return files;
}

std::optional<Case> make_case(const ChannelGroup& group, const Folder& folder,
                              const Dataset& dataset, const FaultSink& sink) {
  Case entry{.name = group.stem};
  std::vector<std::int64_t> found;
  for (const auto& [number, file] : group.files) {
    entry.images.push_back(file);
    found.push_back(number);
  }
  if (group.files.front().number < 0) {
    sink.add({.file = entry.images.front().string(),
              .what = "a file name without a channel",
              .found = printable(entry.images.front().filename().string()),
              .expected = "<case>_0000" + folder.ending,
              .fix = "rename it"});
    return std::nullopt;
  }
  const std::size_t expected = std::max<std::size_t>(dataset.channels.size(), 1);
  if (const std::string wrong = channel_fault(group.files, expected); !wrong.empty()) {
    sink.add({.file = entry.images.front().string(),
              .what = "channels missing or unknown",
              .found = "channels " + joined(found) + " of case " + entry.name + ": " + wrong,
              .expected = "0 to " + std::to_string(expected - 1) + " as channel_names says",
              .fix = "add the missing files or correct channel_names"});
    return std::nullopt;
  }
  const fs::path label = folder.paths.on_disk(folder.labels / (entry.name + folder.ending));
  std::error_code error;
  if (folder.needs_label || fs::exists(label, error)) entry.label = label;
  return entry;
}

std::vector<Case> find_cases(const Folder& folder, const Dataset& dataset, const FaultSink& sink) {
  std::vector<Case> cases;
  for (const ChannelGroup& group : group_channels(files_of(folder), folder.ending))
    if (auto entry = make_case(group, folder, dataset, sink)) cases.push_back(std::move(*entry));
  std::sort(cases.begin(), cases.end(),
            [](const Case& a, const Case& b) { return a.name < b.name; });
  return cases;
}

std::vector<Case> read_table(const ListReader& list, const Json& table) {
  std::vector<Case> cases;
  for (const auto& [name, value] : table.items()) {
    const EntryParser parser{list, list.dataset.root,
                             "dataset[" + in_quotes(printable(name)) + "]"};
    if (!value.is_object() || !value.contains("images")) {
      parser.wrong_key(value.is_object() ? value : Json::object(), "images");
      continue;
    }
    const auto images = parser.images(value["images"]);
    const auto label = parser.file(value, "label");
    Case entry{.name = name};
    if (!images || !label || !parser.details(value, entry)) continue;
    entry.images = *images;
    entry.label = *label;
    cases.push_back(std::move(entry));
  }
  return cases;
}

// "file_ending", with its dot; empty if there is none.
std::string file_ending(const ListReader& list) {
  const auto found = list.root.find("file_ending");
  if (found == list.root.end()) return "";
  const std::string ending = found->is_string() ? found->get<std::string>() : "";
  const std::string dotted = ending.starts_with('.') ? ending : "." + ending;
  if (!fault_of_name(dotted).empty() || case_name("x" + dotted) != "x")
    refuse(list.dataset, "an unknown file ending",
           {.found = "\"file_ending\": " + brief(*found),
            .expected = "the ending of a volume such as \".nii.gz\", \".nrrd\" or \".mha\"",
            .fix = "correct it"});
  if (dotted != ending)
    list.dataset.notes.push_back("\"file_ending\": " + in_quotes(ending) + " is read as " +
                                 in_quotes(dotted));
  return dotted;
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

std::vector<fs::path> version_1_channels(const fs::path& listed) {
  std::error_code error;
  const std::string stem = case_name(listed), file = listed.filename().string();
  if (stem == file || fs::exists(listed, error)) return {};
  std::vector<fs::path> channels;
  for (int channel = 0; channel < 10000; ++channel) {
    fs::path next = listed.parent_path() / (channel_name(stem, channel) + file.substr(stem.size()));
    if (!fs::exists(next, error)) break;
    channels.push_back(std::move(next));
  }
  return channels;
}

void find_nnunet_cases(const ListReader& list) {
  Dataset& dataset = list.dataset;
  std::error_code error;
  const auto table = list.root.find("dataset");
  const bool listed = table != list.root.end() && table->is_object();
  if (!listed && !fs::is_directory(dataset.root / "imagesTr", error))
    throw InputError(
        {.file = dataset.file.string(),
         .what = "a data set without cases",
         .found = "the keys " + what_keys(list.root) + " and no folder imagesTr beside",
         .expected = R"("training": [...] or that folder)",
         .fix = "add one of them"});
  const std::string ending = file_ending(list);
  if (!listed && ending.empty())
    throw InputError({.file = dataset.file.string(),
                      .what = "no file ending",
                      .found = "the keys " + what_keys(list.root),
                      .expected = R"("file_ending": ".nii.gz" (nnU-Net) or "training")",
                      .fix = "add one of them"});
  const Folder training{dataset.root / "imagesTr", dataset.root / "labelsTr", ending, true,
                        list.paths};
  const Folder test{dataset.root / "imagesTs", dataset.root / "labelsTs", ending, false,
                    list.paths};
  const auto faults_so_far = [&list] { return list.sink.faults ? list.sink.faults->size() : 0; };
  const std::size_t faults_before = faults_so_far();
  dataset.training = listed ? read_table(list, *table) : find_cases(training, dataset, list.sink);
  const std::size_t faults_between = faults_so_far();
  dataset.training_count.listed = static_cast<std::int64_t>(
      listed ? table->size() : dataset.training.size() + faults_between - faults_before);
  if (ending.empty()) {
    dataset.test_count.declared.reset();  // they cannot be looked for
  } else {
    dataset.test = find_cases(test, dataset, list.sink);
    dataset.test_count.listed =
        static_cast<std::int64_t>(dataset.test.size() + faults_so_far() - faults_between);
  }
  const bool explained = list.sink.faults && list.sink.faults->size() > faults_before;
  if (!listed && !explained && dataset.training.empty() && dataset.test.empty())
    throw InputError({.file = dataset.file.string(),
                      .what = "a data set without cases",
                      .found = first_file(training.images) + " in imagesTr",
                      .expected = "<case>_0000" + ending,
                      .fix = "rename the files or correct \"file_ending\""});
}

}  // namespace lamp
