// A sentence for each of replicas, slabs and shares.
#include "lamp/execution/grid_words.h"

#include <string>
#include <vector>

#include "lamp/base/text.h"
#include "lamp/execution/slab_shares.h"

namespace lamp {
namespace {

std::string merge_words(const Plan& plan) {
  return "what of gradients' sums outlasts the backward pass and what layers wait for weights "
         "take " +
         fixed(1e3 * plan.merge_s, 2) + " ms";
}

// What a plan of slabs is made of.
std::string slab_reason(const Plan& plan) {
  return "a slab is taken to cost its planes' part of the whole volume, 1/" +
         std::to_string(plan.setup.slabs_of_replica()) + " where they are even; of its step " +
         fixed(1e3 * exchange_s(plan), 2) + " ms are exchanges (" + bytes_text(halo_bytes(plan)) +
         " of halos), and " + merge_words(plan);
}

// Where devices differ in speed.
std::string share_reason(const std::vector<double>& shares, const std::vector<double>& speeds) {
  std::vector<std::string> parts, times;
  for (const double share : shares) parts.push_back(fixed(100 * share, 1) + " %");
  for (const double speed : speeds) times.push_back(fixed(speed, 2));
  return "slabs get " + joined(parts, ", ", " and ") + " of the planes, since their devices are " +
         joined(times, ", ", " and ") + " times as fast as the first one";
}

std::string replica_reason(const Plan& plan) {
  return counted(plan.setup.replicas, "replica") + " of up to " +
         counted(plan.setup.batch, "sample") +
         " work at the same time; times and memory are those of one, and " + merge_words(plan);
}

// In a stage whose batch has fewer samples than there are replicas.
std::string idle_reason(std::int64_t batch, std::int64_t replicas) {
  const std::int64_t idle = replicas - batch;
  return "a batch of " + counted(batch, "sample") + " is for " + std::to_string(batch) + " of " +
         counted(replicas, "replica") + ": the last " +
         (idle == 1 ? "one idles" : std::to_string(idle) + " idle") + " in this stage";
}

}  // namespace

void add_grid_reasons(Plan& plan, const PlanOptions& options, const Network& network) {
  if (const auto& split = options.execution.split; split && split->replicas > options.batch)
    plan.reasons.push_back(idle_reason(options.batch, split->replicas));
  if (plan.setup.replicas > 1) plan.reasons.push_back(replica_reason(plan));
  if (plan.setup.slabs_of_replica() == 1) return;
  plan.reasons.push_back(slab_reason(plan));
  if (const auto shares = slab_shares(options, network); !shares.empty())
    plan.reasons.push_back(share_reason(shares, slab_speeds(options)));
}

}  // namespace lamp
