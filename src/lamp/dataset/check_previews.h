// The pictures that `lamp check --preview` leaves behind: one of each case, in a folder of their
// own. Not part of the library's interface.
#pragma once

#include <cstddef>
#include <filesystem>
#include <vector>

#include "lamp/base/own_output.h"
#include "lamp/dataset/dataset_lists.h"
#include "lamp/preview/case_planes.h"

namespace lamp {

class CheckPreviews {
 public:
  // No pictures if `folder` is empty. Else creates it; throws UsageError if it holds anything but
  // pictures of LAMP's, before anything is written.
  CheckPreviews(const std::filesystem::path& folder, const std::vector<PlacedCase>& cases);

  bool wanted() const { return !files_.empty(); }
  // Draws the case at this place of the list; without a grid only removes an older picture, which
  // would pass for this one. Throws Error if the disk refuses. Thread-safe for different cases.
  void draw(std::size_t i, const CaseMaps& maps) const;

 private:
  std::vector<std::filesystem::path> files_;  // of each case
  OutputList outputs_;
};

}  // namespace lamp
