// Who draws which random numbers: the second part of a key of Random, after the seed. Whoever needs
// random numbers takes a value of its own here, so that no two users draw the same ones by chance.
// Values never change, since results depend on them.
//
// Phantoms (phantoms/phantom.cpp) have their kind in this place, 0 to 2, from before this table:
// they share numbers with the first two streams, which no data set and no run can notice.
// Augmentation goes on from its stream with keys of its own (augment/augmentation.cpp). Weights
// (nets/network.h) and the noise of `lamp bench` come from torch's generators, by the seed alone.
#pragma once

#include <cstdint>

namespace lamp {

enum RandomStream : std::uint64_t {
  // Of a training run: then stage, epoch and round (order), or stage, step and position in the
  // batch (patch, augmentation).
  kBatchOrderStream = 1,
  kBatchPatchStream = 2,
  kBatchAugmentStream = 3,
  kLayerStream = 11,  // dropout masks: then step, micro-batch, link, draw
  // Which cases are held out. Nothing comes after it, which tells it from the stream of its value.
  kCaseSplitStream = kBatchAugmentStream,
  // The letters of their names.
  kHideStream = 0x68696465,            // hidden annotations: then case and label, or 0
  kProbeOrderStream = 0x6f726465,      // the control of the phantoms: batches
  kProbePatchStream = 0x70726f62,      // its patches: then training or test, case
  kPrepareSplitStream = 0x73706c6974,  // test cases of lamp prepare
};

}  // namespace lamp
