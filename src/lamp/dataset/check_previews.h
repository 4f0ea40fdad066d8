// The pictures that `lamp check --preview` leaves behind: one of each case, in a folder of their
// own, which holds those of its last check alone. Not part of the library's interface.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <vector>

#include "lamp/base/output_lock.h"
#include "lamp/base/own_output.h"
#include "lamp/dataset/dataset_lists.h"
#include "lamp/preview/case_planes.h"

namespace lamp {

class CheckPreviews {
 public:
  // No pictures if `folder` is empty. Else removes the older ones there: they would pass for those
  // of this check. Throws UsageError if it holds anything but pictures of LAMP's, before anything
  // is written; Error if another process draws there. A folder that was not there stays away unless
  // something is drawn.
  CheckPreviews(const std::filesystem::path& folder, const std::vector<PlacedCase>& cases);

  bool wanted() const { return !files_.empty(); }
  // Draws the case at this place of the list, if it has a grid. Throws Error if the disk refuses.
  // Thread-safe for different cases.
  void draw(std::size_t i, const CaseMaps& maps) const;

 private:
  std::vector<std::filesystem::path> files_;  // of each case
  OutputList outputs_;
  std::optional<OutputLock> lock_;
};

}  // namespace lamp
