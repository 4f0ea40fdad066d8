// Where and how a network is to run, as plain numbers: what the memory model, the balance and the
// plan share. No torch here.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "lamp/pipeline/partition.h"
#include "lamp/pipeline/recompute.h"
#include "lamp/pipeline/schedule.h"
#include "lamp/planner/network_costs.h"
#include "lamp/planner/simulate.h"

namespace lamp {

struct PlanDevice {
  std::string name;
  std::int64_t memory_bytes = std::numeric_limits<std::int64_t>::max();
};

struct PipelineSetup {
  ScheduleKind schedule = ScheduleKind::kGPipe;
  int microbatches = 1;
  // Samples of a step, dealt out as split_batch() does; 0 = micro-batches all alike.
  std::int64_t batch = 0;
  std::vector<PlanDevice> devices;  // one a stage; stages of the same name share device and memory
  // With slabs or replicas: one for each stage, replica and slab, in this order. `devices` are
  // those of the first slabs of the first replica, which stand for the others. Empty = devices.
  std::vector<PlanDevice> workers;
  std::size_t replicas = 1;  // of whom each has such a batch
  // [slabs of a replica]: the planes of each beside those of the one that has most, whose costs and
  // peaks stand for all; empty = all alike. Of a slab's bytes those, at most, that are there
  // whatever its planes.
  std::vector<double> slab_parts;
  std::int64_t slab_fixed_bytes = 0;
  int threads = std::numeric_limits<int>::max();  // of the process, for stages on "cpu"
  // Between two devices; stages of one device hand tensors over for nothing.
  double bytes_per_s = std::numeric_limits<double>::infinity();
  double optimizer_factor = 1;  // optimizer state in units of the parameters: optimizer.h
  // Beside the network's input: the caller's own copy of the mini-batch, its labels.
  std::int64_t first_device_bytes = 0;
  std::int64_t last_device_bytes = 0;

  std::size_t stages() const { return devices.size(); }
  // Of a stage, in all replicas.
  std::size_t slabs() const { return workers.empty() ? 1 : workers.size() / devices.size(); }
  std::size_t slabs_of_replica() const { return slabs() / replicas; }
  // Of the slab with most planes so many bytes are this for another one.
  std::int64_t bytes_of_slab(std::int64_t bytes_of_largest, std::size_t slab) const;
  // Slabs of a stage that lie on one device: all of them, or one.
  std::size_t slabs_on_device() const;
  bool shares_device(std::size_t a, std::size_t b) const {
    return devices[a].name == devices[b].name;
  }
  // As the executor decides (pipeline/stage_threads.h): whether only one stage works at a time, and
  // how many the CPU's threads are shared out among.
  bool takes_turns() const;
  // With slabs of all workers, who never take turns themselves: where they are more than the
  // threads, a thread each.
  int sharing() const;
  // Where the parts of a batch differ in size: of the largest one's samples, what they have on
  // average. 1 where nothing is said of the batch.
  double mean_share() const;
  // One a name, in order of appearance, and which of them each stage lies on.
  std::vector<PlanDevice> distinct_devices() const;
  std::vector<std::size_t> device_of_stages() const;
  std::vector<std::string> worker_names() const;  // of each stage and slab
  // By how many bytes the device that is worst off exceeds its memory; 0 or less where all fit.
  // peak_bytes: by distinct device.
  std::int64_t over_bytes(const std::vector<std::int64_t>& peak_bytes) const;
};

// Forward and backward of a micro-batch by stage, transfers and skips, as the simulator takes them.
PipelineCosts pipeline_costs(const NetworkCosts& costs, const PipelineSetup& setup,
                             const Partition& partition,
                             const std::vector<RecomputeRule>& recompute);

// A step under these costs, as stages of this setup run it: side by side or in turn. `schedule` is
// the setup's own.
Simulation simulate(const PipelineSetup& setup, const Schedule& schedule,
                    const PipelineCosts& costs, bool with_timeline = true);

}  // namespace lamp
