// One keyed number for each label of each case decides.
#include "lamp/convert/hidden_annotations.h"

#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "lamp/base/files.h"
#include "lamp/base/interrupt.h"
#include "lamp/base/json.h"
#include "lamp/base/random.h"
#include "lamp/base/random_streams.h"
#include "lamp/base/safe_path.h"
#include "lamp/dataset/case_volumes.h"
#include "lamp/dataset/dataset_paths.h"
#include "lamp/dataset/decathlon_folder.h"
#include "lamp/formats/volume_io.h"

namespace lamp {
namespace {

namespace fs = std::filesystem;

// Whether a case is among those that keep everything: those with the smallest numbers.
std::vector<bool> complete_cases(std::size_t count, const HideOptions& options) {
  std::vector<std::pair<double, std::size_t>> drawn;
  for (std::size_t i = 0; i < count; ++i)
    drawn.emplace_back(Random{options.seed, kHideStream, i, 0}.uniform(), i);
  std::sort(drawn.begin(), drawn.end());
  drawn.resize(
      static_cast<std::size_t>(std::lround(options.complete * static_cast<double>(count))));
  std::vector<bool> complete(count, false);
  for (const auto& [number, i] : drawn) complete[i] = true;
  return complete;
}

// The labels of a case that stay, ascending: one at least, the one whose number is largest.
std::vector<int> kept_labels(const Dataset& dataset, std::size_t index, double share,
                             const HideOptions& options) {
  std::vector<int> kept;
  int last_to_go = 0;
  double largest = -1;
  for (const auto& [label, name] : dataset.labels) {
    const Case& entry = dataset.training[index];
    if (label == 0 ||
        (entry.annotated && std::find(entry.annotated->begin(), entry.annotated->end(), label) ==
                                entry.annotated->end()))
      continue;
    Random random{options.seed, kHideStream, index, static_cast<std::uint64_t>(label)};
    const double drawn = random.uniform();
    if (drawn >= share) kept.push_back(label);
    if (drawn > largest) {
      largest = drawn;
      last_to_go = label;
    }
  }
  if (kept.empty() && last_to_go != 0) kept.push_back(last_to_go);
  return kept;
}

void write_label(const Case& entry, const Dataset& dataset, const std::vector<int>& kept,
                 const fs::path& file) {
  Volume label = read_case_label(entry, dataset);
  torch::Tensor voxels = label.voxels.clone();
  for (const auto& [id, name] : dataset.labels)
    if (std::find(kept.begin(), kept.end(), id) == kept.end())
      voxels.masked_fill_(label.voxels == id, 0);
  label.voxels = voxels;
  write_volume(file, label);
}

Json image_paths(const Case& entry) {
  Json paths = Json::array();
  for (const fs::path& image : entry.images) paths.push_back(fs::absolute(image).string());
  return paths.size() == 1 ? paths[0] : paths;
}

}  // namespace

fs::path hide_annotations(const Dataset& dataset, const HideOptions& options) {
  make_output_folder(output_file(options.folder, "labelsTr"));
  Json json = {{"name", dataset.name},
               {"labels", Json::object()},
               {"numTraining", dataset.training.size()},
               {"training", Json::array()},
               {"test", Json::array()}};
  for (const auto& [id, name] : dataset.labels) json["labels"][std::to_string(id)] = name;
  const std::vector<bool> complete = complete_cases(dataset.training.size(), options);
  const double share = options.share / (1 - options.complete);
  for (std::size_t i = 0; i < dataset.training.size(); ++i) {
    throw_if_interrupted("nothing is lost: run it again");
    const Case& entry = dataset.training[i];
    const std::vector<int> kept = kept_labels(dataset, i, complete[i] ? 0 : share, options);
    check_name(entry.name, "a case name that no file may have", dataset.file.string());
    const std::string label = "labelsTr/" + entry.name + ".nii.gz";
    write_label(entry, dataset, kept, output_file(options.folder, label));
    Json row = {{"image", image_paths(entry)}, {"label", "./" + label}};
    if (options.declared && kept.size() + 1 < dataset.labels.size()) row["annotated"] = kept;
    json["training"].push_back(std::move(row));
  }
  for (const Case& entry : dataset.test) json["test"].push_back(image_paths(entry));
  const fs::path file = output_file(options.folder, "dataset.json");
  write_file(file, dump_json(json) + "\n");
  trust_dataset(file);
  return file;
}

}  // namespace lamp
