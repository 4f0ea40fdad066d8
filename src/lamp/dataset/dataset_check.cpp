// The checks themselves. What they say to people is in check_report.cpp.
#include "lamp/dataset/dataset_check.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "lamp/base/each_case.h"
#include "lamp/base/text.h"
#include "lamp/dataset/case_check.h"
#include "lamp/dataset/channel_names.h"
#include "lamp/dataset/check_previews.h"
#include "lamp/dataset/datalist_parser.h"
#include "lamp/dataset/dataset_file.h"
#include "lamp/dataset/dataset_lists.h"
#include "lamp/formats/dicom_folder.h"
#include "lamp/formats/folder_content.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

// Nothing that the picture took stays.
void draw_case(const CheckPreviews& previews, std::size_t i, const Dataset& dataset,
               CheckedCase& result) {
  CaseMaps maps = std::move(result.maps);
  const std::optional<GreyImage> grey = std::exchange(result.grey, std::nullopt);
  maps.name = result.facts.name + " (" + result.facts.split + ")";
  maps.image = grey ? &*grey : nullptr;
  maps.names.insert(dataset.labels.begin(), dataset.labels.end());
  previews.draw(i, maps);
}

// Results stay in order. Returns the fingerprints of the cases' images and labels.
ImageKeys check_cases(const std::vector<PlacedCase>& jobs, CheckSetting setting,
                      const CheckOptions& options, CheckReport& report) {
  const CheckPreviews previews(options.preview, jobs);
  setting.drawn = previews.wanted();
  std::vector<CheckedCase> results(jobs.size());
  const auto check = [&](std::size_t i) {
    const Case& entry = *jobs[i].entry;
    CheckSetting own = setting;
    if (options.observer)
      own.seen = [&, i](const torch::Tensor& voxels) { options.observer(i, voxels); };
    results[i] = check_case(entry, own);
    results[i].facts.split = jobs[i].split;
    if (previews.wanted()) draw_case(previews, i, setting.dataset, results[i]);
    return entry.name;
  };
  for_each_case(
      {.title = "checking",
       .cases = jobs.size(),
       .when_interrupted = previews.wanted() ? "some pictures are written" : "nothing was changed"},
      check);
  ImageKeys fingerprints{.same = "the same voxels", .images = {}, .labels = {}};
  for (CheckedCase& result : results) {
    fingerprints.images.push_back(std::move(result.fingerprint));
    fingerprints.labels.push_back(std::move(result.label_fingerprint));
    report.cases.push_back(std::move(result.facts));
    std::move(result.faults.begin(), result.faults.end(), std::back_inserter(report.faults));
    std::move(result.notes.begin(), result.notes.end(), std::back_inserter(report.notes));
    std::move(result.ignored.begin(), result.ignored.end(), std::back_inserter(report.ignored));
  }
  return fingerprints;
}

// Where the list does not say how many channels there are: against what most cases have, or the
// first ones where there is no majority.
void check_channels(const std::vector<PlacedCase>& cases, CheckReport& report) {
  std::map<std::int64_t, int> counts;
  for (const CaseFacts& facts : report.cases)
    if (facts.channels > 0) ++counts[facts.channels];
  if (counts.size() < 2) return;
  const auto usual =
      std::max_element(counts.begin(), counts.end(), [](const auto& a, const auto& b) {
        return a.second < b.second;
      })->first;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const std::int64_t found = report.cases[i].channels;
    if (found > 0 && found != usual)
      report.faults.push_back({cases[i].entry->images.front().string(),
                               "a wrong number of channels", std::to_string(found),
                               std::to_string(usual) + " as in the other cases",
                               "correct the image or leave the case out"});
  }
}

// Negatives belong to many data sets; one of negatives alone teaches nothing.
void check_foreground(const Dataset& dataset, CheckReport& report) {
  const bool trains = !dataset.training.empty() || !dataset.validation.empty();
  std::size_t labelled = 0;
  for (const CaseFacts& facts : report.cases) {
    if (trains && facts.split == "test") continue;  // nothing is learned from these
    labelled += !facts.label_voxels.empty();
    for (const auto& [value, voxels] : facts.label_voxels)
      if (value != 0) return;
  }
  if (labelled == 0) return;
  report.faults.push_back({.file = dataset.file.string(),
                           .what = "no foreground",
                           .found = "only background in " + counted(labelled, "label map"),
                           .expected = "a labelled voxel in one of them at least",
                           .fix = "check that these are the label maps, and draw the structures"});
}

template <typename T>
void append(std::vector<T>& to, std::vector<T>& from) {
  std::move(from.begin(), from.end(), std::back_inserter(to));
  from.clear();
}

// The folder was named as one of images and holds none.
Fault nothing_to_check(const FolderContent& content, const fs::path& folder) {
  Fault fault = no_volume_fault(content, folder);
  fault.what = "nothing to check";
  fault.expected =
      "a data set (dataset.json), images in the folder itself, or a folder of DICOM slices";
  const fs::path below = folder_of_volumes_below(folder);
  if (below.empty()) return fault;
  fs::path place = folder;
  for (const fs::path& part : below.lexically_relative(folder)) {
    place /= part;
    if (!looks_like_dataset(place)) continue;
    fault.fix = "did you mean the data set " + place.string() + "?";
    break;
  }
  return fault;
}

// The path itself, unless it is a folder of volumes.
std::vector<fs::path> volumes_of(const fs::path& path, const std::string& series,
                                 CheckReport& report) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return {path};
  try {
    FolderContent content = list_folder(path, series);
    append(report.faults, content.torn);
    report.ignored.insert(report.ignored.end(), content.left_out.begin(), content.left_out.end());
    if (!content.volumes.empty()) return content.volumes;
    if (is_dicom_folder(path)) return {path};  // whose reading says what is missing
    report.faults.push_back(nothing_to_check(content, path));
    return {};
  } catch (const InputError& unreadable) {
    report.faults.push_back(unreadable.fault());
    return {};
  }
}

// Also what the images' own DICOM folders hold, once each; not what is an image by itself.
void note_ignored(const std::set<fs::path>& images, CheckReport& report) {
  std::set<fs::path> told;
  std::erase_if(report.ignored, [&](const LeftOut& file) {
    const fs::path path = entry_place(file.file);
    return images.contains(path) || !told.insert(path).second;
  });
  for (const LeftOut& entry : one_a_series(report.ignored))
    report.notes.push_back(entry.describe());
}

// Whether files that are numbered are channels or cases only a model tells; where they begin as
// channels do, a gap among them may be a lost file.
void note_channel_gaps(const std::vector<Case>& cases, CheckReport& report) {
  std::vector<fs::path> files;
  for (const Case& entry : cases) files.push_back(entry.images.front());
  for (const ChannelGroup& group : group_channels(files)) {
    if (group.files.size() < 2 || group.files.front().number != 0) continue;
    const auto wanted = static_cast<std::size_t>(group.files.back().number) + 1;
    const std::string gap = channel_fault(group.files, wanted);
    if (!gap.empty())
      report.notes.push_back(group.stem + ": if its files are channels of one case, " + gap);
  }
}

}  // namespace

CheckReport check_dataset(const fs::path& folder_or_json, const CheckOptions& options) {
  CheckReport report{.name = folder_or_json.string()};
  try {
    const Dataset dataset = read_dataset(folder_or_json, &report.faults);
    report.labels = dataset.labels;
    report.notes = dataset.notes;
    ListFindings findings = check_lists(dataset, options.with_tests);
    append(report.faults, findings.faults);
    append(report.notes, findings.notes);
    std::vector<PlacedCase> cases = placed_cases(dataset);
    if (!options.with_tests) cases.resize(cases.size() - dataset.test.size());  // they come last
    const ImageKeys fingerprints = check_cases(
        cases, {.dataset = dataset, .labelled = true, .read = options.read}, options, report);
    report_twins(cases, fingerprints, findings);
    append(report.faults, findings.faults);
    append(report.notes, findings.notes);
    if (dataset.channels.empty()) check_channels(cases, report);
    check_foreground(dataset, report);
    std::vector<LeftOut> unused = files_of_no_case(dataset);
    append(report.ignored, unused);
    note_ignored({}, report);
  } catch (const InputError& unreadable) {
    report.faults.push_back(unreadable.fault());
    if (report.cases.empty()) CheckPreviews(options.preview, {});  // no older pictures stay
  }
  return report;
}

CheckReport check_images(const std::vector<fs::path>& paths, const ReadOptions& read,
                         const fs::path& preview) {
  CheckReport report{.name = paths.size() == 1 ? paths.front().string()
                                               : std::to_string(paths.size()) + " paths"};
  std::vector<Case> cases;
  std::set<fs::path> seen;
  for (const fs::path& path : paths)
    for (const fs::path& volume : volumes_of(path, read.dicom_series, report))
      if (seen.insert(entry_place(volume)).second)
        cases.push_back({.name = case_name(volume), .images = {volume}});
  const Dataset none;  // single images
  std::vector<PlacedCase> jobs;
  for (const Case& entry : cases) jobs.push_back({&entry, "image"});
  check_cases(jobs, {.dataset = none, .labelled = false, .read = read},
              {.read = read, .preview = preview}, report);
  note_channel_gaps(cases, report);
  note_ignored(seen, report);
  return report;
}

bool looks_like_dataset(const fs::path& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return path.extension() == ".json";
  if (fs::is_directory(path / "imagesTr", error) || fs::exists(path / "dataset.json", error))
    return true;
  if (has_case_list(path)) return true;  // every command takes it
  bool json = false, volumes = false;    // results and images lie beside a JSON of their own
  for (const auto& file : fs::directory_iterator(path, error)) {
    if (file.path().filename().string().starts_with('.')) continue;
    json = json || is_dataset_name(file.path());
    volumes = volumes || is_volume_file(file.path());
  }
  return json && !volumes && !is_dicom_folder(path);
}

}  // namespace lamp
