// What a segmentation did, case by case: the content of segment.json.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lamp/base/json.h"
#include "lamp/base/size3.h"
#include "lamp/formats/left_out.h"
#include "lamp/inference/patch_choice.h"
#include "lamp/inference/test_time_mirroring.h"

namespace lamp {

struct CaseSeconds {
  double load = 0;
  double preprocess = 0;
  double network = 0;
  double export_ = 0;  // labels on the input's grid, cleaned and written
};

struct CaseResult {
  std::string name;
  std::string input;
  std::string output;
  std::string probabilities;  // empty if not asked for
  std::string preview;        // likewise
  Size3 size;                 // of the input, x, y, z
  PatchChoice patch;
  CaseSeconds seconds;
  // While the case was in the network or being written: resident bytes of the process (which other
  // cases share), or allocated bytes of the CUDA device.
  std::int64_t peak_bytes = 0;
  std::map<std::string, double> volume_mm3;  // by label name, without the background
  // Taken away by --keep-largest and --min-volume-mm3, from the map and the probabilities alike;
  // none = not asked for.
  std::optional<std::int64_t> cleaned_voxels;
  Json intensities;  // its values beside those of training (intensity_stats.h); null if unknown
};

struct SegmentFailure {
  std::string name;
  std::string input;
  std::string message;
  int exit_code;
  bool removed_older = false;  // an earlier result of LAMP's stood in the output's place
};

struct SegmentReport {
  std::vector<std::string> models;
  std::string device;
  int replicas = 1, stages = 1, slabs = 1;  // that the devices are
  std::string precision;
  std::string nifti_form;  // refuse | sform | qform: what decides contradictory NIfTI files
  std::string layout;      // of the network's tensors: channels_last | contiguous
  std::map<int, std::string> labels;  // of the model; probabilities follow this order
  Mirroring mirroring;
  std::vector<CaseResult> cases;  // written, in the order of the inputs
  std::vector<SegmentFailure> failures;
  std::vector<std::string> not_done;  // inputs that a signal left untouched
  std::vector<LeftOut> ignored;       // what else lies in the folders that were given

  Json to_json() const;
  // Throws what the program shall end with: a single case's own error; exit code 4 if some of
  // several failed; the first one's code if all did.
  void throw_if_failed() const;
};

}  // namespace lamp
