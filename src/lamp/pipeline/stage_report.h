// What one stage of one lane tells of a step, for whoever gathers them, in this process or others.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lamp/pipeline/stage.h"

namespace lamp {

struct StageReport {
  std::vector<double> losses;  // by micro-batch; of last stages only
  std::int64_t peak_in_flight = 0;
  std::int64_t peak_bytes = 0;
  std::int64_t boundary_bytes = 0;
  std::int64_t skip_bytes = 0;
  std::int64_t halo_bytes = 0;
};

StageReport report_of(const Stage& stage, const StepState& step);

// To the last bit, and back. Throws Error where it is no report.
std::string to_bytes(const StageReport& report);
StageReport stage_report_from(const std::string& bytes);

}  // namespace lamp
