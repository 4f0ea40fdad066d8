// Agree on the request, take the plan of rank 0, run the rounds, gather what each has measured.
#include "lamp/training/bench_processes.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <string_view>
#include <thread>
#include <vector>

#include "lamp/base/device.h"
#include "lamp/base/errors.h"
#include "lamp/base/log.h"
#include "lamp/base/setting_name.h"
#include "lamp/base/text.h"
#include "lamp/processes/end_together.h"
#include "lamp/processes/process_links.h"
#include "lamp/processes/same_everywhere.h"

namespace lamp {
namespace {

std::string of_processes(const Launch& launch) {
  return std::to_string(launch.world) + " processes of " + launch.launcher;
}

// What can be said without the others.
void check_world(const Launch& launch, const ExecutionConfig& execution) {
  if (execution.split && execution.split->devices() != launch.world)
    throw UsageError(setting_name("execution.split") + ": found " + to_string(*execution.split) +
                     ", a product of " + std::to_string(execution.split->devices()) + ", for " +
                     of_processes(launch) + "; give a split whose product is " +
                     std::to_string(launch.world));
}

// One process, one device.
c10::Device own_device(const Launch& launch, const BenchOptions& options) {
  const std::string& text = options.execution.device;
  const auto devices = parse_devices(text);
  if (!options.plan.empty()) {
    if (std::ssize(devices) == launch.world) return devices[static_cast<std::size_t>(launch.rank)];
    throw UsageError(setting_to("plan", options.plan) + ": found " +
                     counted(devices.size(), "device") + " for " + of_processes(launch) +
                     ", each of which drives one; start as many processes as devices");
  }
  if (text == "auto") return devices[static_cast<std::size_t>(launch.local_rank) % devices.size()];
  if (devices.size() == 1) return devices.front();
  throw UsageError(setting_name("execution.device") + ": found " + text + " in one of " +
                   of_processes(launch) + ", each of which drives one device; give one, or auto");
}

// The cores are shared out among the processes of a machine; those of a given plan among all.
void take_threads(const World& world, const Launch& launch, const ProcessBench& bench) {
  const bool has_threads = bench.has_threads;
  if (!bench.options.plan.empty()) {
    const int planned = read_plan(bench.options.plan).threads;
    return at::set_num_threads(std::max(1, planned / world.size()));
  }
  const int cores = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  const int share = std::max(1, cores / world.local_size());
  const char* given = std::getenv("OMP_NUM_THREADS");
  if (given == nullptr && !has_threads) return at::set_num_threads(share);
  const bool is_torchruns = given != nullptr && std::string_view(given) == "1" &&
                            launch.launcher == "torchrun" && !has_threads;
  if (is_torchruns && share > 1 && world.rank() == 0)
    log_info("OMP_NUM_THREADS is 1, as torchrun sets it: each process computes on one of " +
             counted(share, "core") +
             " that it may have; set OMP_NUM_THREADS=" + std::to_string(share) + " to use them");
}

NamedTexts request_of_bench(const ProcessBench& bench) {
  const BenchOptions& options = bench.options;
  Json execution = to_json(options.execution);
  execution.erase("device");
  return {{"program version", bench.version},
          {"network", to_json(options.net).dump()},
          {"input", Json(options.input).dump()},
          {"batch", std::to_string(options.batch)},
          {"execution", execution.dump()},
          {"optimizer", to_json(options.optimizer).dump()},
          {"rounds", std::to_string(options.rounds)},
          {"seed", std::to_string(options.seed)},
          {"plan", options.plan}};
}

// On all processes' threads together, as one process would be that has them all.
ResolvedExecution decided_for_all(BenchOptions options, const std::vector<std::string>& devices,
                                  int all_threads) {
  if (options.plan.empty()) options.execution.device = joined(devices, ",");
  const int own_threads = at::get_num_threads();
  at::set_num_threads(all_threads);
  ResolvedExecution plan = decide_step(options);
  at::set_num_threads(own_threads);
  plan.threads = all_threads;
  if (plan.devices.size() != devices.size())
    throw UsageError("the plan has " + counted(plan.devices.size(), "device") + " for " +
                     std::to_string(devices.size()) + " processes" +
                     ", each of which drives one; start as many processes as devices");
  plan.devices = devices;
  return plan;
}

ResolvedExecution plan_for_all(World& world, const ProcessBench& bench, c10::Device device) {
  const auto devices = world.gather_texts(device.str());
  int all_threads = 0;
  for (const std::string& threads : world.gather_texts(std::to_string(at::get_num_threads())))
    all_threads += std::stoi(threads);
  std::string text;
  if (world.rank() == 0)
    text = to_json(decided_for_all(bench.options, devices, all_threads)).dump();
  return parse_resolved_execution(Json::parse(world.broadcast_text(text)), "the plan of rank 0");
}

// Peaks and timelines of all, rank by rank.
Json report_of_all(World& world, const Json& own) {
  Json all = own;
  all["processes"] = world.size();
  all["peak_bytes"] = all["timeline"] = Json::array();
  for (const std::string& text :
       world.gather_texts(Json({own["peak_bytes"], own["timeline"]}).dump())) {
    const Json of_rank = Json::parse(text);
    for (const char* key : {"peak_bytes", "timeline"})
      for (const Json& entry : of_rank[std::string_view(key) == "timeline"])
        all[key].push_back(entry);
  }
  return all;
}

Json measured_by_all(World& world, const ProcessBench& bench, c10::Device device) {
  world.note_progress("while the step is planned");
  const ResolvedExecution plan = plan_for_all(world, bench, device);
  const auto links =
      std::make_shared<ProcessLinks>(world, ProcessGrid{.replicas = static_cast<int>(plan.replicas),
                                                        .stages = static_cast<int>(plan.stages()),
                                                        .slabs = static_cast<int>(plan.slabs)});
  const MeasuredStep own = measure_own_part(plan, bench.options, links, [&](int round) {
    const std::string where = "in round " + std::to_string(round);
    log_debug(where);
    world.note_progress(where);
  });
  return report_of_all(world, own.report);
}

}  // namespace

std::optional<Json> bench_step(const Launch& launch, const ProcessBench& bench) {
  check_world(launch, bench.options.execution);
  const c10::Device device = own_device(launch, bench.options);
  const auto world = World::join(launch);
  log_debug(of_processes(launch) + " have come together");
  take_threads(*world, launch, bench);
  check_same_everywhere(*world, request_of_bench(bench));
  Json report;
  end_together(*world, [&] { report = measured_by_all(*world, bench, device); });
  if (world->rank() != 0) return std::nullopt;
  return report;
}

}  // namespace lamp
