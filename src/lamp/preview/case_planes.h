// Which planes show a case, and how they lie: as radiologists look at them, from the feet and from
// the front, the patient's left on the right.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "lamp/preview/case_picture.h"
#include "lamp/preview/grey_image.h"

namespace lamp {

// What there is of a case, all on one grid.
struct CaseMaps {
  std::string name;
  Geometry geometry;
  const GreyImage* image = nullptr;           // none = black
  torch::Tensor result, reference;            // integers [D, H, W]; undefined = none
  std::map<std::int64_t, std::string> names;  // of labels; a label without one shows its number
  std::vector<std::string> notes = {};        // said in the picture
};

// The axial, coronal and sagittal plane through the voxel nearest to the centre of the largest
// label: of the reference, else of the result; through the middle of the volume where there is no
// label. Where the volume is flat (an axis of one voxel), the largest plane alone. Axes are the
// nearest canonical ones, with a note where they are oblique. Throws Error if voxels do not fit the
// grid.
CasePicture case_picture_of(const CaseMaps& maps);

// Both in one call: the bytes of a PNG.
std::string case_png(const CaseMaps& maps);

}  // namespace lamp
