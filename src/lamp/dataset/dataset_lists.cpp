// Everything by hashed keys, since a list may hold a hundred thousand cases.
#include "lamp/dataset/dataset_lists.h"

#include <sys/stat.h>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "lamp/base/errors.h"
#include "lamp/base/text.h"
#include "lamp/base/unicode_form.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

// The file on the disk; its path, if it is not there.
std::string identity(const fs::path& file) {
  struct stat status {};
  if (stat(file.c_str(), &status) == 0)
    return std::to_string(status.st_dev) + ":" + std::to_string(status.st_ino);
  std::error_code error;
  return fs::absolute(file, error).lexically_normal().string();
}

std::string place_text(const PlacedCase& placed) {
  std::string text = placed.entry->name + " (" + placed.split;
  if (placed.entry->fold) text += ", fold " + std::to_string(*placed.entry->fold);
  return text + ")";
}

// What is trained on must not be tested on. Validation cases are often the test cases too, which
// only flatters the choice among epochs.
bool is_leak(const PlacedCase& a, const PlacedCase& b) {
  const std::string_view from = a.split, to = b.split;
  const bool other_fold = a.entry->fold && b.entry->fold && a.entry->fold != b.entry->fold;
  return (from != to && (from == "training" || to == "training")) || other_fold;
}

void check_counts(const Dataset& dataset, bool with_tests, ListFindings& findings) {
  const auto check = [&](const CaseCount& count, const std::string& kind, const std::string& key) {
    // MONAI lists what is held out for validation apart.
    const auto held_out = static_cast<std::int64_t>(dataset.validation.size());
    const auto& [declared, found] = count;
    if (!declared || *declared == found) return;
    if (kind == "training" && *declared == found + held_out) return;
    findings.faults.push_back({.file = dataset.file.string(),
                               .what = "a wrong number of " + kind + " cases",
                               .found = std::to_string(found),
                               .expected = std::to_string(*declared) + " as " + key + " says",
                               .fix = "restore the missing cases or correct " + key});
  };
  check(dataset.training_count, "training", "numTraining");
  if (with_tests) check(dataset.test_count, "test", "numTest");
}

// The first case that uses a file as its label or as an image, by its place.
using Users = std::unordered_map<std::string, std::size_t>;

// `image_keys`: equal for cases of one image, which share a label by right and are reported apart.
void check_label_files(const std::vector<PlacedCase>& cases,
                       const std::vector<std::string>& image_keys, const Users& images,
                       ListFindings& findings) {
  Users labels;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const PlacedCase& placed = cases[i];
    if (placed.entry->label.empty()) continue;
    const std::string file = placed.entry->label.string(), key = identity(placed.entry->label);
    const auto [other, is_new] = labels.try_emplace(key, i);
    if (!is_new && image_keys[i] != image_keys[other->second])
      findings.faults.push_back(
          {.file = file,
           .what = "one label file for two cases",
           .found = place_text(cases[other->second]) + " and " + place_text(placed),
           .expected = "a label map of its own for every case",
           .fix = "correct the entry that names it wrongly"});
    const auto image = images.find(key);
    if (image == images.end()) continue;
    findings.faults.push_back({.file = file,
                               .what = "one file as image and as label",
                               .found = "the image of " + place_text(cases[image->second]) +
                                        " and the label of " + place_text(placed),
                               .expected = "two files",
                               .fix = "correct the entry that names it wrongly"});
  }
}

// One image file for each case, or all channels of one in any order.
std::string image_key(const std::vector<std::string>& files) {
  std::vector<std::string> sorted = files;
  std::sort(sorted.begin(), sorted.end());
  std::string key;
  for (const std::string& file : sorted) key += file + "\n";
  return key;
}

void note_equal_channels(const Case& entry, std::vector<std::string> files,
                         ListFindings& findings) {
  std::sort(files.begin(), files.end());
  if (std::adjacent_find(files.begin(), files.end()) != files.end())
    findings.notes.push_back(entry.name + " names one file for two channels");
}

// Windows and the Mac take them for one name, and what is written for one replaces the other.
void note_equal_names(const std::vector<PlacedCase>& cases, ListFindings& findings) {
  std::unordered_map<std::string, const PlacedCase*> names;
  for (const PlacedCase& placed : cases) {
    std::string folded = decomposed(placed.entry->name);
    folded = lower(folded);
    const auto [other, is_new] = names.try_emplace(std::move(folded), &placed);
    const std::string& first = other->second->entry->name;
    if (!is_new && first != placed.entry->name)
      findings.notes.push_back(first + " and " + placed.entry->name +
                               " differ in capitals or the form of Unicode only: on Windows and "
                               "Macs they are one name");
  }
}

}  // namespace

std::vector<PlacedCase> placed_cases(const Dataset& dataset) {
  std::vector<PlacedCase> cases;
  for (const Case& entry : dataset.training) cases.push_back({&entry, "training"});
  for (const Case& entry : dataset.validation) cases.push_back({&entry, "validation"});
  for (const Case& entry : dataset.test) cases.push_back({&entry, "test"});
  return cases;
}

void report_twins(const std::vector<PlacedCase>& cases, const ImageKeys& keys,
                  ListFindings& findings) {
  std::unordered_map<std::string, std::size_t> first;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    if (keys.images[i].empty()) continue;
    const auto [other, is_new] = first.try_emplace(keys.images[i], i);
    const std::size_t j = other->second;
    if (is_new || !findings.twins.emplace(j, i).second) continue;
    const PlacedCase &a = cases[j], &b = cases[i];
    const bool drawn_twice = !keys.labels.empty() && !keys.labels[i].empty() &&
                             !keys.labels[j].empty() && keys.labels[i] != keys.labels[j];
    const std::string pair = place_text(a) + " and " + place_text(b);
    if (is_leak(a, b) && !drawn_twice)
      findings.faults.push_back({.file = b.entry->images.front().string(),
                                 .what = "a leak",
                                 .found = keys.same + " in " + pair,
                                 .expected = "no image on both sides",
                                 .fix = "take one of them out, or scores tell nothing"});
    else
      findings.notes.push_back(pair + " have " + keys.same +
                               (drawn_twice ? " and different labels" : ""));
  }
}

ListFindings check_lists(const Dataset& dataset, bool with_tests) {
  ListFindings findings;
  check_counts(dataset, with_tests, findings);
  const std::vector<PlacedCase> cases = placed_cases(dataset);
  Users images;
  std::vector<std::string> keys;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    std::vector<std::string> files;
    for (const fs::path& file : cases[i].entry->images) files.push_back(identity(file));
    for (const std::string& file : files) images.try_emplace(file, i);
    note_equal_channels(*cases[i].entry, files, findings);
    keys.push_back(image_key(files));
  }
  report_twins(cases, {.same = "one image file", .images = keys, .labels = {}}, findings);
  check_label_files(cases, keys, images, findings);
  note_equal_names(cases, findings);
  return findings;
}

void refuse_faulty_lists(const Dataset& dataset) {
  const ListFindings findings = check_lists(dataset, /*with_tests=*/false);
  if (!findings.faults.empty()) throw InputError(findings.faults.front());
}

std::vector<LeftOut> files_of_no_case(const Dataset& dataset) {
  const auto place = [](const fs::path& file) {
    return fs::absolute(file).lexically_normal().string();
  };
  std::unordered_set<std::string> named;
  for (const PlacedCase& placed : placed_cases(dataset)) {
    for (const fs::path& image : placed.entry->images) named.insert(place(image));
    if (!placed.entry->label.empty()) named.insert(place(placed.entry->label));
  }
  std::vector<LeftOut> unused;
  for (const char* folder : {"imagesTr", "labelsTr", "imagesTs", "labelsTs"}) {
    std::vector<fs::path> files;
    std::error_code error;
    for (fs::directory_iterator at(dataset.root / folder, error), end; !error && at != end;
         at.increment(error)) {
      const fs::path& file = at->path();
      if (!file.filename().string().starts_with('.') && is_volume_file(file) &&
          !named.contains(place(file)))
        files.push_back(file);
    }
    std::sort(files.begin(), files.end());
    for (const fs::path& file : files)
      unused.push_back(
          {.file = file, .reason = "it belongs to no case of " + dataset.file.filename().string()});
  }
  return unused;
}

}  // namespace lamp
