// The combinations of devices, micro-batches and schedule that a request leaves open, and the best
// cut for one of them. Shared by the choice of a plan and by what it says about the others.
#pragma once

#include <map>
#include <optional>
#include <tuple>
#include <vector>

#include "lamp/planner/plan.h"

namespace lamp {

// More micro-batches are not chosen, since they would not be noticeably faster; a user may ask for
// as many as the second says.
constexpr int kMostChosenMicrobatches = 128;
constexpr int kMostMicrobatches = 4096;
// Micro-batches of fewer samples are left to the user: batch norm is unsteady on a single one.
constexpr std::int64_t kLeastChosenSamples = 2;

// So many of them: those with most memory, in their order.
std::vector<PlanDevice> roomiest_devices(const std::vector<PlanDevice>& devices, std::size_t count);

struct Candidate {
  std::size_t stages;
  int microbatches;
  ScheduleKind schedule;
};

class Candidates {
 public:
  // Both must outlive it. Throws UsageError for a request that contradicts itself.
  Candidates(const PlanRequest& request, const CostProvider& provider);

  // Those to choose from, the simplest first.
  std::vector<Candidate> all() const;
  PipelineSetup setup(const Candidate& candidate) const;
  // Of one micro-batch; asked for once for each size and overlap of stages. Where the parts of a
  // batch differ in size, the bytes are the largest's, the seconds the mean's.
  const NetworkCosts& costs(const Candidate& candidate);
  // The best cut that takes less than `upper_bound_s`; nothing where none fits.
  std::optional<Balance> best_cut(const Candidate& candidate, double upper_bound_s);
  // The one that the request fixes; nothing where it is to be found.
  std::optional<Partition> cut(const Candidate& candidate);
  // Of a cut, under the request's rules of recomputation; nothing if it does not fit.
  std::optional<Balance> evaluate(const Candidate& candidate, const Partition& cut);
  double update_s(const Candidate& candidate);
  const PlanRequest& request() const { return request_; }

 private:
  std::vector<std::size_t> stage_counts() const;
  std::vector<int> microbatch_counts() const;
  std::vector<ScheduleKind> schedules(std::size_t stages, int microbatches) const;
  const CostQuery& query(const Candidate& candidate);

  const PlanRequest& request_;
  const CostProvider& provider_;
  std::map<std::tuple<std::size_t, int, ScheduleKind>, CostQuery> queries_;
  std::map<std::tuple<int, int, double>, NetworkCosts> known_;  // by M, sharing and overlap
};

}  // namespace lamp
