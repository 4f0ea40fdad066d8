// What a measurement is asked for, in words: what is not said is a given plan's, if there is one,
// else usual. `lamp bench step` and `lamp bench segment` fill them in.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "lamp/base/json.h"
#include "lamp/training/bench.h"

namespace lamp {

// An empty text is one that was not given.
struct BenchWish {
  Json net = Json::object();  // as in a configuration
  Json execution = Json::object();
  std::string input;  // "64,64,64"
  std::optional<std::int64_t> batch;
  std::string patch = "whole";  // these three of segment only
  double overlap = 0.5;
  std::string blend = "gaussian";
  int rounds = 3;
  std::string plan;  // a file of `lamp plan`
  std::uint64_t seed = 0;
};

// Throws UsageError for words that say nothing. Where a plan is obeyed on its own device, its
// number of threads holds from now on.
BenchOptions parse_bench_wish(const BenchWish& wish);

// The same of one volume, with a plan obeyed as `lamp segment` does (execution/segment_plan.h).
BenchOptions parse_segment_wish(const BenchWish& wish);

}  // namespace lamp
