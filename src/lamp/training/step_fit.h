// One training step against the devices' memory, by shapes, and what would fit instead.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lamp/execution/plan_request.h"
#include "lamp/training/fit_words.h"

namespace lamp {

// Of one device.
struct Memory {
  std::string device;
  std::int64_t free = 0;     // without swapping
  std::int64_t near = 0;     // beyond this a prediction is too close to what is free
  std::int64_t most = 0;     // beyond this nothing has worked
  std::int64_t advised = 0;  // what advice may take
  std::string note;          // on `free`, after it; may be empty
};
using Memories = std::vector<Memory>;  // by distinct device, as PipelineSetup orders them

Memories memories_of(const ExecutionConfig& config);
const Memory& roomiest(const Memories& memories);

// "needs about 2.0 GiB at the least, cpu has 1.0 GiB".
std::string need_text(std::int64_t bytes, const Memory& memory);

// What is wrong with a step of `what` ("curriculum stage 1 (64x64x64, batch 16)"), and what would
// fit; nothing where it fits, with a warning where that is close.
std::optional<std::string> step_fault(const PlanOptions& options, const std::string& what,
                                      const Memories& memories, const FitWords& words);

}  // namespace lamp
