// From image files to label files: the way of every case, and what happens when one of them fails.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "lamp/inference/predictor.h"
#include "lamp/inference/scorer.h"
#include "lamp/inference/segment_options.h"
#include "lamp/inference/segment_report.h"

namespace lamp {

struct SegmentRequest {
  std::vector<std::string> inputs;  // files, folders, DICOM folders: input_list.h
  // A folder; or, with a single case, the label map itself if the name ends in .nii.gz, .nii, .nrrd
  // or .mha (no segment.json is written then).
  std::filesystem::path output;
  SegmentOptions options;
  std::string dicom_series = {};  // which of several in a DICOM folder: read_dicom_folder
  PredictorFactory make_predictor = lamp::make_predictor;
};

// Segments every case with the models (several = their mean): <case>.<format>, with
// save_probabilities <case>_prob.<format>, and segment.json, in the output folder. Label maps lie
// on the input's own grid; a label's value is its id in the model. While the network has one case,
// the next is loaded and the last one written. A case that fails is in the report's failures and
// leaves nothing behind; the others go on. Throws UsageError or InputError before any case for
// options and inputs that make no sense, such as an output that would replace an input, and
// Interrupted after a signal, once finished cases are written. The models' networks stay on the
// device and in the precision asked for. Not thread-safe: memory is counted for the whole process.
SegmentReport segment_all(const std::vector<SegmentModel>& models, const SegmentRequest& request);

}  // namespace lamp
