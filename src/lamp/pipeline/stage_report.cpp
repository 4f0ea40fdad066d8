// Numbers one after another, all as doubles: counts of bytes are exact there up to 2^53.
#include "lamp/pipeline/stage_report.h"

#include <cstddef>
#include <cstring>

#include "lamp/base/errors.h"
#include "lamp/base/memory_counter.h"

namespace lamp {
namespace {

constexpr std::size_t kCounts = 5;

std::int64_t count_of(double number) { return static_cast<std::int64_t>(number); }

}  // namespace

StageReport report_of(const Stage& stage, const StepState& step) {
  StageReport report{.peak_in_flight = stage.peak_in_flight(),
                     .peak_bytes = stage_account(stage.row()).peak_bytes(),
                     .boundary_bytes = stage.boundary_bytes(),
                     .skip_bytes = stage.skip_bytes(),
                     .halo_bytes = stage.halo_bytes()};
  if (!stage.is_last()) return report;
  for (const torch::Tensor& loss : step.losses) report.losses.push_back(loss.item<double>());
  return report;
}

std::string to_bytes(const StageReport& report) {
  std::vector<double> numbers;
  for (const std::int64_t count : {report.peak_in_flight, report.peak_bytes, report.boundary_bytes,
                                   report.skip_bytes, report.halo_bytes})
    numbers.push_back(static_cast<double>(count));
  numbers.insert(numbers.end(), report.losses.begin(), report.losses.end());
  return {reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(double)};
}

StageReport stage_report_from(const std::string& bytes) {
  if (bytes.size() % sizeof(double) != 0 || bytes.size() < kCounts * sizeof(double))
    throw Error("a stage's report has " + std::to_string(bytes.size()) +
                " bytes; give all processes the same program");
  std::vector<double> numbers(bytes.size() / sizeof(double));
  std::memcpy(numbers.data(), bytes.data(), bytes.size());
  return {.losses = {numbers.begin() + kCounts, numbers.end()},
          .peak_in_flight = count_of(numbers[0]),
          .peak_bytes = count_of(numbers[1]),
          .boundary_bytes = count_of(numbers[2]),
          .skip_bytes = count_of(numbers[3]),
          .halo_bytes = count_of(numbers[4])};
}

}  // namespace lamp
