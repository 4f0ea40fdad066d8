// Whether a run fits the memory, asked before it begins: without this a batch that is too large
// fills the machine for minutes before it is killed. Sizes come from headers, needs from the
// planner's model by shapes; nothing is allocated.
//
// The model is a prediction (within 10 % of what was measured) that leaves workspaces out, so a run
// is refused only where it could not have worked: the prediction, less that error, is more than
// what is free with everything the system could swap out or drop. Tensors of bf16 and fp16 count
// half, and of every cut, rule of recomputation and loader that is left open the one that holds
// least. In between there is a warning. execution.memory replaces what is free, to the byte.
#pragma once

#include "lamp/dataset/datalist.h"
#include "lamp/training/bench.h"
#include "lamp/training/train_config.h"

namespace lamp {

// Every stage of the curriculum (whole volumes: the largest training image in a batch of its like)
// and the largest held-out case, segmented whole between the epochs. Throws DoesNotFit that names
// what does not fit (of equal stages the first, and not more than a few) and what would, in the
// words of `--set`; InputError for a header that cannot be read. "auto" patches must be settled.
void check_fits(const TrainConfig& config, const Dataset& dataset);

// One stage alone, from 0: its step, and a batch on its way from the loader, of these training
// cases.
void check_stage_fits(const TrainConfig& config, const Dataset& dataset, std::size_t stage);
void check_batch_fits(const TrainConfig& config, const Dataset& dataset,
                      const std::vector<std::size_t>& cases, std::size_t stage);

// `bench step` and `bench segment`, in the words of their options.
void check_step_fits(const BenchOptions& options);
void check_segment_fits(const BenchOptions& options);

}  // namespace lamp
