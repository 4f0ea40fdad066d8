// The cases looked at once before the first step: which values they hold, for the model's
// metadata, and what about them will make training useless, told before hours are spent.
#pragma once

#include <filesystem>

#include "lamp/base/json.h"
#include "lamp/base/own_output.h"
#include "lamp/cases/case_store.h"
#include "lamp/training/case_split.h"
#include "lamp/training/train_config.h"

namespace lamp {

inline constexpr const char* kSurveyFile = "intensities.json";
// Files of that name that survey_training_data has written.
OwnTest own_survey();

// describe_intensities of the split's training cases. Warns where a label has no voxel in any of
// them (or nobody looked for it), where there is no foreground at all, for what window_warnings and
// outlier_warnings find, and for held-out cases that are unlike them. Prepares every case, on
// loader.threads threads; a run that has done so before reads the result, and repeats its warnings,
// from RUN/intensities.json: {"data", "cases", "held_out", "warnings", "intensities"}. Throws
// InputError for damaged files (of several, the first case's) and Interrupted after a signal that
// arrives meanwhile.
Json survey_training_data(const std::filesystem::path& run, CaseStore& store,
                          const CaseSplit& split, const TrainConfig& config);

}  // namespace lamp
