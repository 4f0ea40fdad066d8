// Is one case of a data set unlike the others: in other units, inverted, of another modality? Then
// what is trained on it, or scored with it, is wrong, though every file is sound.
#pragma once

#include <cstddef>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "lamp/cases/intensity_stats.h"
#include "lamp/dataset/dataset_check.h"

namespace lamp {

struct OutlierCase {
  std::string name;
  Intensities values;    // empty = could not be read: left out
  bool training = true;  // else it is compared, and nothing is compared with it
};

// Warnings in words with numbers, in the order of the cases, by compare_intensities' rule
// (without a window: units show in the whole range) and by the ends of the range. A case
// is held against the training cases that agree with each other, and it is never one of them if it
// is told of, so that two foreign cases neither hide each other nor make the others look foreign.
// Where half of them or fewer agree, one warning says that. Nothing below four training cases.
std::vector<std::string> outlier_warnings(const std::vector<OutlierCase>& cases);

// The same beside a check of a data set, from the voxels that it reads.
class CaseComparison {
 public:
  // For check_paths. This object must outlive the check.
  ImageObserver observer();
  // What is found stands first among the notes of the report that the observer was given to.
  void note(CheckReport& report) const;

 private:
  std::mutex mutex_;
  std::map<std::size_t, Intensities> values_;  // by place in the report's cases
};

}  // namespace lamp
