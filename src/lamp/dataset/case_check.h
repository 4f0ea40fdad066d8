// Everything that is wrong with one case of a data set: its files, their values and their grids.
// Not part of the library's interface: dataset_check.h runs it over all cases.
#pragma once

#include <string>
#include <vector>

#include "lamp/dataset/dataset_check.h"

namespace lamp {

struct CheckedCase {
  CaseFacts facts;  // but for the split
  std::vector<Fault> faults;
  std::vector<std::string> notes;
  std::vector<LeftOut> ignored;  // beside the slices of its DICOM folders
  // Of the image's and the label's voxels; empty if unread or all of one value.
  std::string fingerprint, label_fingerprint;
};

struct CheckSetting {
  const Dataset& dataset;
  bool labelled;  // else single images
  ReadOptions read;
};

// Reads each file once. Never throws for a fault.
CheckedCase check_case(const Case& entry, const CheckSetting& setting);

}  // namespace lamp
