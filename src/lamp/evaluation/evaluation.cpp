// One case after another: read both maps, check that they lie on one grid, count, measure surfaces.
#include "lamp/evaluation/evaluation.h"

#include <algorithm>
#include <new>

#include "lamp/base/errors.h"
#include "lamp/base/interrupt.h"
#include "lamp/base/out_of_memory.h"
#include "lamp/base/progress.h"
#include "lamp/dataset/datalist.h"
#include "lamp/evaluation/case_pairs.h"
#include "lamp/evaluation/evaluation_previews.h"
#include "lamp/formats/volume_io.h"
#include "lamp/objective/surface_metrics.h"
#include "lamp/volume/grid_difference.h"

namespace lamp {
namespace {

constexpr double kToleranceMm = 2;
constexpr std::size_t kMostLabels = 1000;

// What dataset.json knows about labels; without one, nothing.
class LabelKnowledge {
 public:
  explicit LabelKnowledge(const std::optional<std::filesystem::path>& file) {
    if (!file) return;
    dataset_ = read_dataset(*file);
    for (const auto* cases : {&dataset_->training, &dataset_->validation, &dataset_->test})
      for (const Case& entry : *cases) add(entry);
  }

  const std::optional<Dataset>& dataset() const { return dataset_; }

  std::map<std::int64_t, std::string> names() const {
    std::map<std::int64_t, std::string> names;
    if (dataset_)
      for (const auto& [label, name] : dataset_->labels)
        if (label != 0) names[label] = name;
    return names;
  }

  bool is_annotated(const std::string& name, std::int64_t label) const {
    const auto entry = annotated_.find(name);
    if (entry == annotated_.end()) return true;
    return std::find(entry->second.begin(), entry->second.end(), label) != entry->second.end();
  }

  void check(const std::map<std::int64_t, LabelOverlap>& counts, const CasePair& pair) const {
    if (!dataset_) return;
    for (const auto& [label, overlap] : counts) {
      if (label == 0 || dataset_->labels.contains(static_cast<int>(label))) continue;
      const auto& file = overlap.n_ref > 0 ? pair.reference : pair.prediction;
      throw InputError({.file = file.string(),
                        .what = "undeclared label",
                        .found = "the value " + std::to_string(label),
                        .expected = "only the labels of " + dataset_->file.string(),
                        .fix = "add it there or correct the map"});
    }
  }

 private:
  // Under the image's name and the label's, where they differ.
  void add(const Case& entry) {
    if (!entry.annotated) return;
    annotated_.emplace(entry.name, *entry.annotated);
    if (!entry.label.empty()) annotated_.emplace(case_name(entry.label), *entry.annotated);
  }

  std::optional<Dataset> dataset_;
  std::map<std::string, std::vector<int>> annotated_;  // partly annotated cases
};

// An image given in place of a label map would be measured for hours, value by value.
Volume read_label_map(const std::filesystem::path& file, const ReadOptions& options) {
  Volume volume = read_label(file, options);
  const auto counts = count_overlap(volume.voxels[0], volume.voxels[0]);
  if (counts.begin()->first < 0 || counts.size() > kMostLabels)
    throw InputError({.file = file.string(),
                      .what = "no label map",
                      .found = std::to_string(counts.size()) + " values from " +
                               std::to_string(counts.begin()->first) + " to " +
                               std::to_string(counts.rbegin()->first),
                      .expected = "at most " + std::to_string(kMostLabels) + ", none negative",
                      .fix = "is it an image?"});
  return volume;
}

Volume read_prediction(const CasePair& pair, const ReadOptions& options) {
  if (pair.prediction.empty())
    throw InputError({.file = pair.reference.string(),
                      .what = "missing prediction",
                      .found = "no prediction of that name",
                      .expected = "one for each reference",
                      .fix = "segment the case or take its reference away"});
  return read_label_map(pair.prediction, options);
}

// The metrics of one label of two maps [D, H, W] on one grid; `overlap` is the label's entry of
// count_overlap().
LabelMetrics measure_label(const torch::Tensor& predicted, const torch::Tensor& reference,
                           std::int64_t label, const LabelOverlap& overlap,
                           const Geometry& geometry) {
  const auto& [x, y, z] = geometry.spacing_mm;
  const SurfaceDistances distances =
      overlap.box.empty()
          ? SurfaceDistances{}
          : surface_distances(predicted, reference,
                              {.label = label, .box = overlap.box, .spacing_dhw_mm = {z, y, x}});
  const double voxel_mm3 = geometry.voxel_volume_mm3();
  return {.overlap = overlap,
          .hd95_mm = robust_hausdorff_mm(distances, 95),
          .surface_dice_2mm = surface_dice(distances, kToleranceMm),
          .assd_mm = average_symmetric_distance_mm(distances),
          .volume_pred_mm3 = static_cast<double>(overlap.n_pred) * voxel_mm3,
          .volume_ref_mm3 = static_cast<double>(overlap.n_ref) * voxel_mm3};
}

CaseEvaluation evaluate_case(const CasePair& pair, const LabelKnowledge& knowledge,
                             const EvaluationPreviews& previews, const ReadOptions& options) {
  const Volume predicted = read_prediction(pair, options);
  const Volume reference = read_label_map(pair.reference, options);
  check_same_grid({predicted.geometry, pair.prediction}, {reference.geometry, pair.reference},
                  "its reference");
  const torch::Tensor p = predicted.voxels[0], r = reference.voxels[0];
  const auto counts = count_overlap(p, r);
  knowledge.check(counts, pair);
  CaseEvaluation result{pair.name, pair.prediction, pair.reference, p.numel(), {}};
  for (const auto& [label, overlap] : counts) {
    if (label == 0) continue;
    LabelMetrics& metrics = result.labels[label];
    metrics.annotated = knowledge.is_annotated(pair.name, label);
    if (metrics.annotated) metrics = measure_label(p, r, label, overlap, reference.geometry);
  }
  previews.draw(pair, predicted, reference);
  return result;
}

// A label that neither map of a case holds is still a row of that case.
void fill_absent_labels(EvaluationResult& result, const LabelKnowledge& knowledge) {
  for (const CaseEvaluation& entry : result.cases)
    for (const auto& [label, metrics] : entry.labels)
      result.names.emplace(label, std::to_string(label));
  for (CaseEvaluation& entry : result.cases) {
    for (const auto& [label, name] : result.names) {
      if (entry.labels.contains(label)) continue;
      LabelMetrics& absent = entry.labels[label];
      absent = measure_label({}, {}, label, {.voxels = entry.voxels}, {});
      absent.annotated = knowledge.is_annotated(entry.name, label);
    }
  }
}

}  // namespace

EvaluationResult evaluate_folders(const EvaluationOptions& options) {
  const LabelKnowledge knowledge(options.dataset);
  const auto pairs = pair_cases(options.prediction, options.reference);
  EvaluationResult result;
  result.names = knowledge.names();
  const EvaluationPreviews previews(options, pairs, knowledge.dataset());
  const ReadOptions reading{.nifti_form = options.nifti_form.value_or(NiftiForm::kRefuse)};
  Progress progress("evaluate", static_cast<std::int64_t>(pairs.size()));
  for (const CasePair& pair : pairs) {
    throw_if_interrupted(options.preview ? "some pictures are written" : "nothing was written");
    const std::size_t done = result.cases.size();
    const auto out_of_memory = [&] {
      result.failures.push_back({pair.name,
                                 "out of memory: " + pair.name +
                                     ": its label maps and their distances take more than there "
                                     "is; crop both, or free memory",
                                 kExitDoesNotFit});
    };
    try {
      result.cases.push_back(evaluate_case(pair, knowledge, previews, reading));
    } catch (const Error& error) {
      result.failures.push_back({pair.name, error.what(), error.exit_code()});
    } catch (const std::bad_alloc&) {
      out_of_memory();
    } catch (const c10::Error& error) {
      if (!is_out_of_memory(error)) throw;
      out_of_memory();
    }
    if (result.cases.size() == done) previews.remove_older(pair);
    progress.advance(pair.name);
  }
  fill_absent_labels(result, knowledge);
  return result;
}

void throw_if_failed(const EvaluationResult& result) {
  if (result.failures.empty()) return;
  const CaseFailure& first = result.failures.front();
  const std::size_t failed = result.failures.size(), all = failed + result.cases.size();
  if (all == 1) throw Error(first.message, first.exit_code);
  throw Error(std::to_string(failed) + " of " + std::to_string(all) +
                  " cases failed, the first: " + first.message,
              result.cases.empty() ? kExitInput : kExitSomeCasesFailed);
}

}  // namespace lamp
