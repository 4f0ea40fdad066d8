// How good segmentations are: every metric for each case and label, from files, over whole folders.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lamp/objective/overlap.h"
#include "lamp/volume/volume.h"

namespace lamp {

// One label of one case. Dice, IoU and surface metrics are NaN where neither map holds the label.
struct LabelMetrics {
  bool annotated = true;  // false: the reference does not say, so everything counts as NaN
  LabelOverlap overlap;
  double hd95_mm = 0;  // infinite if one of the maps lacks the label
  double surface_dice_2mm = 0;
  double assd_mm = 0;  // mean over the area of both surfaces together; infinite as above
  double volume_pred_mm3 = 0;
  double volume_ref_mm3 = 0;

  bool missed() const { return annotated && overlap.n_ref > 0 && overlap.n_pred == 0; }
  bool extra() const { return annotated && overlap.n_ref == 0 && overlap.n_pred > 0; }
};

struct CaseEvaluation {
  std::string name;
  std::filesystem::path prediction;
  std::filesystem::path reference;
  std::int64_t voxels = 0;
  std::map<std::int64_t, LabelMetrics> labels;  // without the background
};

struct CaseFailure {
  std::string name;
  std::string message;
  int exit_code = 0;
};

struct EvaluationOptions {
  std::filesystem::path prediction;              // folder or file
  std::filesystem::path reference;               // folder or file
  std::optional<std::filesystem::path> dataset;  // dataset.json: label names, annotated classes
  std::optional<NiftiForm> nifti_form;           // of contradictory files; none = they are refused
  // Where a picture of each case is written; none = no pictures.
  std::optional<std::filesystem::path> preview = {};
};

struct EvaluationResult {
  std::vector<CaseEvaluation> cases;          // each with the same labels
  std::vector<CaseFailure> failures;          // references that could not be compared
  std::map<std::int64_t, std::string> names;  // of the labels; the number where nobody named it
};

// Pairs the cases and evaluates one after another, each on all threads. A case that fails (no
// prediction, unreadable, another grid, undeclared label values) becomes a failure and the others
// go on. Without a dataset the labels are all those found in any map. Throws as pair_cases() and
// read_dataset() do, and UsageError if a picture would replace a file that LAMP did not write.
EvaluationResult evaluate_folders(const EvaluationOptions& options);

// Throws Error if a case failed: its own exit code for a single case, kExitInput if all failed,
// kExitSomeCasesFailed if some did.
void throw_if_failed(const EvaluationResult& result);

}  // namespace lamp
