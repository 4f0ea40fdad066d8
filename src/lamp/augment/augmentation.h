// Random changes of training patches that keep them valid: geometry changes image and label alike,
// values change in the image only.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "lamp/augment/augment_config.h"
#include "lamp/base/random.h"
#include "lamp/cases/patch_sampler.h"

namespace lamp {

// Immutable, so any number of threads may share one.
class Augmenter {
 public:
  // Throws what check_augment throws.
  Augmenter(AugmentConfig config, const std::map<int, std::string>& labels);

  // A changed copy of the same shapes; the given tensors are left alone (and returned where nothing
  // changes them). The result follows from `random` alone, whatever the number of threads. The
  // label holds no value that the given one, mirrored or not, does not hold, except kNoScan for
  // what was moved in from outside the patch (and is int16 then). Statistics of the values, such as
  // gamma's, are those of the voxels that a scan showed.
  //
  // Mirrored patches exchange the labels of left and right. What counts is the parity: one mirrored
  // axis, whichever, makes the body's left its right; two are a half turn, after which the left
  // organ still is the left one. For the same reason rotate90 leaves labels alone. `annotated` (ids
  // that were looked for; empty = all) is exchanged along.
  Patch augment(const Patch& patch, std::vector<int>& annotated, Random& random) const;

 private:
  Patch flip(const Patch& patch, std::vector<int>& annotated, Random& random) const;
  void exchange_sides(Patch& patch, std::vector<int>& annotated) const;
  Patch rotate90(const Patch& patch, Random& random) const;
  Patch deform(const Patch& patch, Random& random) const;
  torch::Tensor change_values(const Patch& patch, Random& random) const;

  AugmentConfig config_;
  std::vector<std::pair<int, int>> twins_;
};

}  // namespace lamp
