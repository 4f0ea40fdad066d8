// One keyed number for each label of each case decides.
#include "lamp/convert/hidden_annotations.h"

#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/interrupt.h"
#include "lamp/base/json.h"
#include "lamp/base/own_output.h"
#include "lamp/base/random.h"
#include "lamp/base/random_streams.h"
#include "lamp/base/safe_path.h"
#include "lamp/base/sha256.h"
#include "lamp/dataset/case_volumes.h"
#include "lamp/dataset/dataset_paths.h"
#include "lamp/dataset/decathlon_folder.h"
#include "lamp/formats/volume_io.h"
#include "lamp/formats/volume_mark.h"

namespace lamp {
namespace {

namespace fs = std::filesystem;

constexpr const char* kWriter = "lamp experiment";

// The list with a hash of all else that it says, so that a changed one is known.
Json sealed(Json list) {
  list.erase("written_by");
  return written_by(std::string(kWriter) + " sha256:" +
                        sha256(list.dump(-1, ' ', false, Json::error_handler_t::replace)),
                    list);
}

bool is_own_list(const fs::path& file) {
  try {
    const Json list = read_json(file);
    return list.is_object() && list == sealed(list);
  } catch (const InputError&) {
    return false;
  }
}

std::string label_of(const Case& entry, const Dataset& dataset) {
  check_name(entry.name, "a case name that no file may have", dataset.file.string());
  return "labelsTr/" + entry.name + ".nii.gz";
}

// Of an earlier call, and changed by nobody.
void refuse_changed_copy(const Dataset& dataset, const fs::path& folder) {
  OutputList files;
  for (const Case& entry : dataset.training)
    files.add({"experiment", output_file(folder, label_of(entry, dataset)), own_volume(kWriter)});
  files.add({"experiment", output_file(folder, "dataset.json"), is_own_list});
  files.check();
}

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
  write_volume(file, label, kWriter);
}

Json image_paths(const Case& entry) {
  Json paths = Json::array();
  for (const fs::path& image : entry.images) paths.push_back(fs::absolute(image).string());
  return paths.size() == 1 ? paths[0] : paths;
}

}  // namespace

fs::path hide_annotations(const Dataset& dataset, const HideOptions& options) {
  refuse_changed_copy(dataset, options.folder);
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
    const std::string label = label_of(entry, dataset);
    write_label(entry, dataset, kept, output_file(options.folder, label));
    Json row = {{"image", image_paths(entry)}, {"label", "./" + label}};
    if (options.declared && kept.size() + 1 < dataset.labels.size()) row["annotated"] = kept;
    json["training"].push_back(std::move(row));
  }
  for (const Case& entry : dataset.test) json["test"].push_back(image_paths(entry));
  const fs::path file = output_file(options.folder, "dataset.json");
  write_file(file, dump_json(sealed(json)) + "\n");
  trust_dataset(file);
  return file;
}

}  // namespace lamp
