// The checks themselves. What they say to people is in check_report.cpp.
#include "lamp/data/dataset_check.h"

#include <ATen/Parallel.h>
#include <torch/torch.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <mutex>
#include <optional>
#include <set>

#include "lamp/base/interrupt.h"
#include "lamp/base/progress.h"
#include "lamp/base/text.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

struct CaseResult {
  CaseFacts facts;
  std::vector<DatasetFault> faults;
  std::vector<std::string> notes;
};

// One case's files, each looked at once.
class CaseChecker {
 public:
  CaseChecker(const Case& entry, const Dataset* dataset, const ReadOptions& options,
              CaseResult& result)
      : entry_(entry), dataset_(dataset), options_(options), result_(result) {
    options_.refuse_nan = false;  // they are counted
  }

  void run() {
    for (const fs::path& file : entry_.images) check_image(file);
    check_channels();
    if (!entry_.label.empty()) check_label();
  }

 private:
  void fault(const fs::path& file, const std::string& what, const std::string& found,
             const std::string& expected, const std::string& fix) {
    result_.faults.push_back({file.string(), what, found, expected, fix});
  }

  std::optional<Volume> read(const fs::path& file,
                             Volume (*reader)(const fs::path&, const ReadOptions&)) {
    std::error_code error;
    if (!fs::exists(file, error)) {
      fault(file, "a missing file", "nothing", "the file of case " + entry_.name,
            "restore it or remove its entry");
      return std::nullopt;
    }
    try {
      return reader(file, options_);
    } catch (const InputError& unreadable) {
      result_.faults.push_back(to_fault(unreadable));
    } catch (const std::exception& failed) {
      fault(file, "unreadable", failed.what(), "a readable file", "replace the file");
    }
    return std::nullopt;
  }

  void check_image(const fs::path& file) {
    const auto image = read(file, &read_image);
    if (!image) return;
    CaseFacts& facts = result_.facts;
    check_values(file, image->voxels);
    if (facts.channels == 0) {
      facts.geometry = image->geometry;
      grid_ = image->geometry;
    } else {
      check_grid(file, image->geometry, "the other channels");
    }
    facts.channels += image->voxels.size(0);
  }

  void check_values(const fs::path& file, const torch::Tensor& voxels) {
    const torch::Tensor values = voxels.contiguous();
    const float* value = values.const_data_ptr<float>();
    std::int64_t bad = 0;
    bool first = result_.facts.channels == 0;
    auto& range = result_.facts.value_range;
    for (std::int64_t i = 0; i < values.numel(); ++i) {
      if (!std::isfinite(value[i])) {
        ++bad;
        continue;
      }
      const double finite = value[i];
      range = first ? std::array{finite, finite}
                    : std::array{std::min(range[0], finite), std::max(range[1], finite)};
      first = false;
    }
    if (bad > 0)
      fault(file, "NaN or infinite voxels",
            std::to_string(bad) + " of " + std::to_string(values.numel()), "none",
            "replace them by the value of air or of their surroundings");
  }

  void check_grid(const fs::path& file, const Geometry& found, const std::string& partner) {
    if (!grid_) return;
    const double distance = corner_distance_voxels(*grid_, found);
    if (distance <= kSameGridVoxels) return;
    if (found.size != grid_->size)
      fault(file, "a grid of another size than " + partner, found.describe(), grid_->describe(),
            "resample it onto the grid of " + entry_.images.front().string());
    else
      fault(file, "another place or orientation than " + partner,
            "a corner " + fixed(distance, 3) + " voxels away",
            "at most " + shortest(kSameGridVoxels) + " voxels",
            "copy the geometry of " + entry_.images.front().string() +
                " if the voxels match, else resample");
  }

  void check_channels() {
    const auto expected = static_cast<std::int64_t>(dataset_ ? dataset_->channels.size() : 0);
    const std::int64_t found = result_.facts.channels;
    if (expected == 0 || found == 0 || found == expected || !result_.faults.empty()) return;
    fault(entry_.images.front(), "a wrong number of channels", std::to_string(found),
          std::to_string(expected), "correct the image or the channels that dataset.json declares");
  }

  void check_label() {
    const auto label = read(entry_.label, &read_label);
    if (!label) return;
    if (!grid_) result_.facts.geometry = label->geometry;
    check_grid(entry_.label, label->geometry, "its image");
    auto& counts = result_.facts.label_voxels = count_values(label->voxels);
    if (dataset_->labels.empty()) return;
    const std::string unknown = undeclared_values(counts, dataset_->labels);
    if (!unknown.empty())
      fault(entry_.label, "unknown label values", unknown,
            "0 to " + std::to_string(dataset_->labels.rbegin()->first),
            "correct the label map or declare the labels");
    if (counts.size() == 1 && counts.begin()->first == 0)
      fault(entry_.label, "an empty label", "only background", "at least one labelled voxel",
            "draw the structures or remove the case");
    check_annotation(counts);
  }

  void check_annotation(const std::map<std::int64_t, std::int64_t>& counts) {
    for (const auto& [id, name] : dataset_->labels) {
      if (id == 0) continue;
      const auto& annotated = result_.facts.annotated;
      const bool looked_for = std::find(annotated.begin(), annotated.end(), id) != annotated.end();
      const auto count = counts.find(id);
      if (count != counts.end() && !looked_for)
        fault(entry_.label, "a label that is not annotated",
              std::to_string(count->second) + " voxels of " + name,
              "none, as \"annotated\" does not list " + std::to_string(id),
              "add it to \"annotated\" or erase it");
      if (count == counts.end() && looked_for)
        result_.notes.push_back(entry_.name + " has no " + name);
    }
  }

  const Case& entry_;
  const Dataset* dataset_;
  ReadOptions options_;
  CaseResult& result_;
  std::optional<Geometry> grid_;  // of the first image that could be read
};

struct Job {
  const Case* entry;
  const char* split;
};

struct CheckSetting {
  const Dataset& dataset;
  bool labelled;  // else single images
  ReadOptions read;
};

std::vector<int> annotated_ids(const Case& entry, const Dataset& dataset) {
  if (entry.annotated) return *entry.annotated;
  std::vector<int> ids;
  for (const auto& label : dataset.labels)
    if (label.first > 0) ids.push_back(label.first);
  return ids;
}

// Cases differ much in size, so each thread takes the next one that is free. Results stay in order.
void check_cases(const std::vector<Job>& jobs, const CheckSetting& setting, CheckReport& report) {
  std::vector<CaseResult> results(jobs.size());
  std::atomic<std::size_t> next = 0;
  std::mutex mutex;
  Progress progress("checking", static_cast<std::int64_t>(jobs.size()));
  const auto work = [&] {
    for (std::size_t i = next++; i < jobs.size() && caught_signal() == 0; i = next++) {
      const Case& entry = *jobs[i].entry;
      results[i].facts.name = entry.name;
      results[i].facts.split = jobs[i].split;
      if (setting.labelled) results[i].facts.annotated = annotated_ids(entry, setting.dataset);
      CaseChecker(entry, &setting.dataset, setting.read, results[i]).run();
      const std::lock_guard lock(mutex);
      progress.advance(entry.name);
    }
  };
  at::parallel_for(0, at::get_num_threads(), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t thread = begin; thread < end; ++thread) work();
  });
  throw_if_interrupted("nothing was changed");
  for (CaseResult& result : results) {
    report.cases.push_back(std::move(result.facts));
    std::move(result.faults.begin(), result.faults.end(), std::back_inserter(report.faults));
    std::move(result.notes.begin(), result.notes.end(), std::back_inserter(report.notes));
  }
}

void note_unused_files(const Dataset& dataset, CheckReport& report) {
  std::set<fs::path> named;
  for (const auto* list : {&dataset.training, &dataset.validation, &dataset.test}) {
    for (const Case& entry : *list) {
      for (const fs::path& image : entry.images)
        named.insert(fs::absolute(image).lexically_normal());
      if (!entry.label.empty()) named.insert(fs::absolute(entry.label).lexically_normal());
    }
  }
  for (const char* folder : {"imagesTr", "labelsTr", "imagesTs", "labelsTs"}) {
    std::vector<std::string> unused;
    std::error_code error;
    for (const auto& file : fs::directory_iterator(dataset.root / folder, error)) {
      const fs::path path = fs::absolute(file.path()).lexically_normal();
      const std::string name = path.filename().string();
      if (!name.starts_with('.') && is_volume_file(path) && !named.contains(path))
        unused.push_back(name);
    }
    std::sort(unused.begin(), unused.end());
    for (const std::string& name : unused)
      report.notes.push_back(std::string(folder) + "/" + name + " belongs to no case of " +
                             dataset.file.filename().string());
  }
}

void check_declared_count(const Dataset& dataset, CheckReport& report) {
  const auto found = static_cast<std::int64_t>(dataset.training.size());
  if (!dataset.declared_training || *dataset.declared_training == found || !report.faults.empty())
    return;
  report.faults.push_back({dataset.file.string(), "a wrong number of training cases",
                           std::to_string(found),
                           std::to_string(*dataset.declared_training) + " as numTraining says",
                           "restore the missing cases or correct numTraining"});
}

}  // namespace

CheckReport check_dataset(const fs::path& folder_or_json, const CheckOptions& options) {
  CheckReport report{.name = folder_or_json.string()};
  try {
    const Dataset dataset = read_dataset(folder_or_json, &report.faults);
    report.labels = dataset.labels;
    check_declared_count(dataset, report);
    std::vector<Job> jobs;
    for (const Case& entry : dataset.training) jobs.push_back({&entry, "training"});
    for (const Case& entry : dataset.validation) jobs.push_back({&entry, "validation"});
    if (options.with_tests)
      for (const Case& entry : dataset.test) jobs.push_back({&entry, "test"});
    check_cases(jobs, {.dataset = dataset, .labelled = true, .read = options.read}, report);
    note_unused_files(dataset, report);
  } catch (const InputError& unreadable) {
    report.faults.push_back(to_fault(unreadable));
  }
  return report;
}

CheckReport check_images(const std::vector<fs::path>& paths) {
  CheckReport report{.name = paths.size() == 1 ? paths.front().string()
                                               : std::to_string(paths.size()) + " paths"};
  std::vector<Case> cases;
  for (const fs::path& path : paths) {
    std::vector<fs::path> volumes;
    std::error_code error;
    for (const auto& file : fs::directory_iterator(path, error))
      if (is_volume_file(file.path()) && !file.path().filename().string().starts_with('.'))
        volumes.push_back(file.path());
    if (volumes.empty()) volumes.push_back(path);
    std::sort(volumes.begin(), volumes.end());
    for (const fs::path& volume : volumes)
      cases.push_back({.name = case_name(volume), .images = {volume}});
  }
  std::vector<Job> jobs;
  for (const Case& entry : cases) jobs.push_back({&entry, "image"});
  check_cases(jobs, {.dataset = Dataset(), .labelled = false, .read = {}}, report);
  return report;
}

bool looks_like_dataset(const fs::path& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return path.extension() == ".json";
  if (fs::is_directory(path / "imagesTr", error) || fs::exists(path / "dataset.json", error))
    return true;
  bool json = false, volumes = false;  // results lie beside a JSON of their own
  for (const auto& file : fs::directory_iterator(path, error)) {
    if (file.path().filename().string().starts_with('.')) continue;
    json = json || file.path().extension() == ".json";
    volumes = volumes || is_volume_file(file.path());
  }
  return json && !volumes;
}

}  // namespace lamp
