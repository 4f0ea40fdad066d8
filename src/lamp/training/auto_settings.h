// What "auto" in a training configuration comes to where it changes what is computed: the patch of
// a stage and the precision. Both are settled once, when a run begins, and written into its
// config.json; a resumed run keeps them, whatever machine it goes on.
#pragma once

#include "lamp/base/json.h"
#include "lamp/base/size3.h"
#include "lamp/cases/preprocess.h"
#include "lamp/dataset/datalist.h"
#include "lamp/training/train_config.h"

namespace lamp {

// Of the training images on the network's grid, axis by axis, x, y, z; from their headers alone.
Size3 median_size(const Dataset& dataset, const DataConfig& data);

// The largest patch of this stage of which a step fits what is usually free (plan_choices.h), up to
// `most`. Throws DoesNotFit where not even the smallest does.
Size3 largest_patch(const TrainConfig& config, const StageConfig& stage, const Size3& most);

// Replaces "auto". earlier: the config.json of a run that goes on, else null. Throws DoesNotFit
// where not even the smallest patch fits.
void settle_auto(TrainConfig& config, const Dataset& dataset, const Json& earlier);

}  // namespace lamp
