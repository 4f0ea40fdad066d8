// Claims held against the numbers.
#pragma once

#include <string>

#include "lamp/experiment/experiment_spec.h"
#include "lamp/experiment/results.h"

namespace lamp {

struct Verdict {
  enum State { kHolds, kFails, kOpen };  // open: cells are missing
  State state = kOpen;
  std::string found;  // "77.4 against 32.1, a spread of 3.0 over the seeds"
};

Verdict judge(const Claim& claim, const Results& results);

}  // namespace lamp
