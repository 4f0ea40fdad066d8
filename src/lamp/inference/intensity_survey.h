// `lamp check -m` and `-c`: are these images like those that a model was trained on, and does a
// configuration's window show anything of them?
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lamp/base/fault.h"
#include "lamp/base/json.h"
#include "lamp/cases/preprocess.h"
#include "lamp/dataset/dataset_check.h"
#include "lamp/inference/scorer.h"

namespace lamp {

struct IntensitySurvey {
  std::vector<std::string> warnings;  // in words with numbers, the whole set's before the cases'
  Json numbers = Json::object();      // by case, as IntensityFindings::numbers
  std::vector<Fault> faults;          // why `lamp segment` refuses images for this model
};

// What the images are held against.
struct IntensityStandard {
  DataConfig data;            // of a model or a configuration
  Json trained;               // a model's "intensities", or null
  std::int64_t channels = 0;  // of a model; 0 = any
  std::string dicom_series;   // as in ReadOptions
  std::string model;          // the model's file, if it is one's
};

// A model's preprocessing and the values it was trained on.
IntensityStandard standard_of(const SegmentModel& model);

// `paths`: one data set, all of whose cases are looked at, or images as `lamp segment` takes them.
// Files that cannot be read are left out: check_dataset and check_images name them. That the files
// of a case are not the model's channels only this sees, for it knows the model. Works on
// at::get_num_threads() cases at a time. Throws Interrupted after a signal.
IntensitySurvey survey_intensities(const std::vector<std::string>& paths,
                                   const IntensityStandard& standard);

// The same beside a check of these paths: what is found stands first among the report's notes, and
// faults of files that the check accepts are added to its own.
IntensitySurvey survey_beside(CheckReport& report, const std::vector<std::string>& paths,
                              const IntensityStandard& standard);

}  // namespace lamp
