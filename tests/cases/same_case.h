// Whether two prepared cases teach the same.
#pragma once

#include <torch/types.h>

#include <cstddef>

#include "lamp/cases/patch_sampler.h"

namespace lamp::testing {

inline bool same(const TrainingCase& a, const TrainingCase& b) {
  bool equal = torch::equal(a.image(), b.image()) && torch::equal(a.label, b.label) &&
               a.voxel_counts == b.voxel_counts && a.foreground.size() == b.foreground.size();
  for (std::size_t i = 0; equal && i < a.foreground.size(); ++i)
    equal = torch::equal(a.foreground[i], b.foreground[i]);
  return equal;
}

}  // namespace lamp::testing
