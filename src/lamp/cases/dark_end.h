// Where an image's darkest values gather: in a CT the air around the patient. Soft tissue says
// little about a wrong factor (40 HU become 20), but air lies far from 0 and moves with it.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "lamp/cases/intensity_stats.h"

namespace lamp {

struct DarkEnd {
  double level = 0;   // the mean of the values that gather there
  double span = 0;    // from there to the image's bright end (99.5 %)
  double share = 0;   // of the voxels that lie there
  double beyond = 0;  // of the voxels that are darker by 15 to 60 % of the level

  // Enough of them for one level, as air has. Tissue is less even.
  bool clear() const;
};

// Without padding: a least value that lies far below all others. All 0 for an image of one value.
DarkEnd dark_end(const ValueCounts& all);

// Over the cases of a training set: the least and the most of each.
struct DarkRange {
  std::array<double, 2> level = {}, span = {};
};

// None if half of the cases or fewer have a clear dark end, or if it lies at 0, where no factor
// moves it (MR).
std::optional<DarkRange> dark_range(const std::vector<DarkEnd>& cases);

// The factor by which an image's values are smaller than those of training, if that is far below 1
// (0.65 or less); none else. The level alone would not do, for a crop may end in fat at a tenth of
// air's level: the span must be smaller by the same factor, and hardly a voxel darker than the
// level, which in fat are many.
std::optional<double> shrunk_by(const DarkEnd& image, const DarkRange& trained);

}  // namespace lamp
