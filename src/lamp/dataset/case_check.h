// Everything that is wrong with one case of a data set: its files, their values and their grids.
// Not part of the library's interface: dataset_check.h runs it over all cases.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "lamp/dataset/dataset_check.h"
#include "lamp/preview/case_planes.h"

namespace lamp {

struct CheckedCase {
  CaseFacts facts;  // but for the split
  std::vector<Fault> faults;
  std::vector<std::string> notes;
  std::vector<LeftOut> ignored;  // beside the slices of its DICOM folders
  // Of the image's and the label's voxels; empty if unread or all of one value.
  std::string fingerprint, label_fingerprint;
  // What there is to draw, if that was asked for.
  std::optional<GreyImage> grey;
  CaseMaps maps;  // without its image; of no voxels if nothing could be read
};

struct CheckSetting {
  const Dataset& dataset;
  bool labelled;  // else single images
  ReadOptions read;
  bool drawn = false;                                   // keep what a picture needs
  std::function<void(const torch::Tensor&)> seen = {};  // is shown each image's voxels
};

// Reads each file once. Never throws for a fault.
CheckedCase check_case(const Case& entry, const CheckSetting& setting);

}  // namespace lamp
