// What a user may ask of a segmentation, apart from the models and the images.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "lamp/inference/components.h"
#include "lamp/inference/patch_choice.h"
#include "lamp/inference/sliding_window.h"
#include "lamp/inference/test_time_mirroring.h"
#include "lamp/volume/volume.h"

namespace lamp {

struct SegmentOptions {
  PatchRequest patch;                        // auto: as large as the memory allows
  double overlap = 0.5;                      // of windows, [0, 1)
  Blend blend = Blend::kGaussian;            // of windows
  std::optional<std::int64_t> memory_bytes;  // for the whole process (CPU) or the device (CUDA);
                                             // none = 80 % of what is available
  std::string device = "auto";               // several = pipeline stages, which cases or windows
                                             // stream through, or as the two below say
  int replicas = 1;                          // that share cases or windows, each with its stages
  int slabs = 1;                             // of every volume or window, in each stage
  std::string precision = "fp32";            // fp32 | bf16 | fp16 (CUDA only)
  std::string layout = "auto";               // auto (measured) | channels_last | contiguous
  std::string format;                        // nii.gz | nii | nrrd | mha, in any case; empty: as
                                             // the output's name says, else nii.gz
  bool save_probabilities = false;
  bool preview = false;                 // also a picture of each case
  std::optional<NiftiForm> nifti_form;  // of contradictory inputs; none = as the model says
  MirrorRequest mirror;                 // test-time mirroring; none = off
  Cleanup cleanup;
};

// Throws UsageError for an overlap outside [0, 1) or an unknown format.
void check_options(const SegmentOptions& options);

}  // namespace lamp
