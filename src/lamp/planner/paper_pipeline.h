// A pipeline that exists on paper only: a schedule over stages whose times are given instead of
// measured, as `lamp simulate` takes them. No torch here.
#pragma once

#include <string>
#include <vector>

#include "lamp/planner/simulate.h"

namespace lamp {

// Times are one for all stages or one for each, in any unit; an empty list is the default.
struct PaperPipeline {
  std::string schedule = "gpipe";
  int stages = 0;
  int microbatches = 0;
  int slabs = 1;                 // of every volume, in each stage; times are those of whole volumes
  std::vector<double> forward;   // 1
  std::vector<double> backward;  // 2, both halves
  std::vector<double> weight;    // of it, the weight half, where the schedule splits it: a half
  std::vector<double> transfer;  // between neighbours, one or [K - 1]: 0
  std::vector<double> exchange;  // between the slabs of a stage, in each forward and backward: 0
  std::string recompute = "never";
};

// The costs that simulate() takes. Throws UsageError that names the setting: a wrong number of
// times, one that is negative or not finite, a weight half beyond the backward or of a schedule
// that splits none.
PipelineCosts costs_of(const PaperPipeline& pipeline, const Schedule& schedule);

// Throws UsageError for what costs_of() refuses, an unknown schedule or rule, fewer than one stage
// or micro-batch, and more actions than memory holds; Interrupted after a signal. With a row for
// each slab (by_slab).
Simulation simulate(const PaperPipeline& pipeline);

}  // namespace lamp
