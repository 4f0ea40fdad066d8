// One process of a grid, for the tests: steps its part of each network and holds losses, norms,
// weights, running statistics and scores against those of the same grid in one process, which it
// runs itself.
#include <ATen/Parallel.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "lamp/execution/training_step.h"
#include "lamp/nets/net_factory.h"
#include "lamp/processes/end_together.h"
#include "lamp/processes/process_links.h"
#include "support/every_schedule.h"

namespace lamp {
namespace {

constexpr int kSteps = 3;

struct GridCase {
  NetConfig net;
  DeviceGrid grid;
  std::int64_t batch = 4;
  ScheduleKind schedule = ScheduleKind::k1F1B;
  RecomputeRule recompute = RecomputeRule::kNever;
  bool deferred = false;
  std::string optimizer = "sgd";
  std::string layout = "channels_last";

  std::string name() const {
    return net.name + " " + to_string(grid) + " batch " + std::to_string(batch) + " " +
           to_string(schedule) + " recompute " + to_string(recompute) + " " + optimizer + " " +
           layout + (deferred ? " deferred" : "");
  }
};

// A step's results, and what the network is afterwards.
struct GridRun {
  std::vector<double> losses, norms;
  std::vector<std::int64_t> bytes;
  std::vector<int> in_flight;
  std::map<std::string, torch::Tensor> state;  // of all layers
  torch::Tensor scores;
};

NetConfig tiny(const std::string& name) {
  return {.name = name,
          .width = 4,
          .depth = 1,
          .in_channels = name == "anatomynet" ? 2 : 1,
          .classes = 3};
}

Partition in_stages(std::size_t links, std::int64_t stages) {
  Partition partition;
  const auto count = static_cast<std::size_t>(stages);
  for (std::size_t j = 0; j < count; ++j)
    partition.push_back({j * links / count, (j + 1) * links / count});
  return partition;
}

ResolvedExecution plan_of(const GridCase& what, std::size_t links) {
  const auto devices = static_cast<std::size_t>(what.grid.devices());
  return {.net = what.net,
          .input = {8, 9, 17},
          .batch = what.batch,
          .devices = std::vector<std::string>(devices, "cpu"),
          .replicas = what.grid.replicas,
          .slabs = what.grid.slabs,
          .partition = in_stages(links, what.grid.stages),
          .layout = what.layout,
          .schedule = what.schedule,
          .microbatches = std::max<std::int64_t>(1, what.batch / what.grid.replicas),
          .recompute = std::vector(static_cast<std::size_t>(what.grid.stages), what.recompute),
          .deferred_batch_norm = what.deferred,
          .threads = static_cast<int>(devices)};  // one each
}

StepBatch batch_of(const GridCase& what) {
  torch::manual_seed(5);
  return {.image = torch::randn({what.batch, what.net.in_channels, 17, 9, 8}) * 3 + 2,
          .label = torch::randint(0, 3, {what.batch, 17, 9, 8}).to(torch::kUInt8),
          .flags = torch::ones({what.batch, 3})};
}

void add_bytes(GridRun& run, const StepResult& result) {
  run.bytes.insert(run.bytes.end(), {result.boundary_bytes, result.skip_bytes, result.halo_bytes});
  run.in_flight.insert(run.in_flight.end(), result.peak_in_flight.begin(),
                       result.peak_in_flight.end());
}

GridRun three_steps(const GridCase& what, const std::shared_ptr<PipelineLinks>& links) {
  Network network = make_network(what.net);
  network.initialise(1);
  at::set_num_threads(1);
  const auto loss = make_loss({}, torch::ones({3}));
  LossScaler scaler(false);
  const OptimizerConfig optimizer{
      .name = what.optimizer, .lr = 0.01, .momentum = 0.9, .clip_norm = 1};
  TrainingStep step(network, *loss, plan_of(what, network.chain->size()), optimizer, scaler, 0,
                    links);
  const StepBatch batch = batch_of(what);
  GridRun run;
  for (int i = 0; i < kSteps; ++i) {
    const StepOutcome outcome = step.run(batch, i);
    run.losses.push_back(outcome.loss);
    run.norms.push_back(outcome.gradient_norm);
    add_bytes(run, outcome.pipeline);
  }
  const torch::NoGradGuard no_gradients;
  for (const auto& item : network.chain->named_parameters())
    run.state[item.key()] = item.value().detach().clone();
  for (const auto& item : network.chain->named_buffers())
    run.state[item.key()] = item.value().clone();
  network.chain->eval();
  run.scores = step.predict(batch.image.narrow(0, 0, 1));
  return run;
}

void check(bool is_so, const std::string& what) {
  if (!is_so) throw Error("differs: " + what);
}

// Names of the parameters and buffers that the process's own stage holds.
std::vector<std::string> own_names(const GridCase& what, int rank) {
  const Network network = make_network(what.net);
  const auto stage = static_cast<std::size_t>(rank / what.grid.slabs % what.grid.stages);
  const StageRange links = in_stages(network.chain->size(), what.grid.stages)[stage];
  std::set<const void*> own;
  for (std::size_t link = links.first; link < links.last; ++link)
    for (const auto& tensors :
         {network.chain->layers()[link]->parameters(), network.chain->layers()[link]->buffers()})
      for (const torch::Tensor& tensor : tensors) own.insert(tensor.unsafeGetTensorImpl());
  std::vector<std::string> names;
  for (const auto& items : {network.chain->named_parameters(), network.chain->named_buffers()})
    for (const auto& item : items)
      if (own.contains(item.value().unsafeGetTensorImpl())) names.push_back(item.key());
  return names;
}

void step_alike(World& world, const GridCase& what) {
  const auto links = std::make_shared<ProcessLinks>(
      world, ProcessGrid{.replicas = static_cast<int>(what.grid.replicas),
                         .stages = static_cast<int>(what.grid.stages),
                         .slabs = static_cast<int>(what.grid.slabs)});
  const GridRun here = three_steps(what, nullptr);
  const GridRun spread = three_steps(what, links);
  check(here.losses.front() != here.losses.back(), what.name() + ": nothing was learnt");
  check(spread.losses == here.losses, what.name() + ": losses");
  check(spread.norms == here.norms, what.name() + ": gradient norms");
  check(spread.bytes == here.bytes, what.name() + ": bytes sent");
  check(spread.in_flight == here.in_flight, what.name() + ": micro-batches in flight");
  const auto names = own_names(what, world.rank());
  check(!names.empty(), what.name() + ": a stage without state");
  for (const std::string& name : names)
    check(torch::equal(spread.state.at(name), here.state.at(name)), what.name() + ": " + name);
  check(torch::equal(spread.scores, here.scores), what.name() + ": scores");
}

// All schedules of the first network, one of each other.
void every_net_and_schedule(World& world, const DeviceGrid& grid) {
  for (const ScheduleKind schedule : testing::kEverySchedule)
    step_alike(world, {.net = tiny("unet"), .grid = grid, .schedule = schedule});
  step_alike(world, {.net = tiny("seunet"), .grid = grid, .schedule = ScheduleKind::kZeroBubble});
  step_alike(world, {.net = tiny("anatomynet"), .grid = grid});
}

void rules_and_norms(World& world, const DeviceGrid& grid) {
  for (const RecomputeRule rule : {RecomputeRule::kAlways, RecomputeRule::kExceptLast})
    step_alike(world, {.net = tiny("seunet"), .grid = grid, .recompute = rule});
  step_alike(world, {.net = tiny("unet"), .grid = grid, .deferred = true});
  step_alike(world, {.net = tiny("anatomynet"),
                     .grid = grid,
                     .schedule = ScheduleKind::kZeroBubble,
                     .recompute = RecomputeRule::kAlways,
                     .deferred = true,
                     .optimizer = "adamw",
                     .layout = "contiguous"});
}

// A loss that throws on one process alone: in the second round, in its stage.
void fail_in_a_step(World& world) {
  const GridCase what{.net = tiny("unet"), .grid = {.stages = 2}, .batch = 2};
  const auto links = std::make_shared<ProcessLinks>(world, ProcessGrid{.stages = 2});
  Network network = make_network(what.net);
  network.initialise(1);
  Pipeline pipeline(network.chain, {.devices = {c10::kCPU, c10::kCPU},
                                    .partition = in_stages(network.chain->size(), 2),
                                    .microbatches = 2,
                                    .links = links});
  const torch::Tensor images = network.prepare(batch_of(what).image);
  for (int step = 0; step < 2; ++step)
    pipeline.step(images, [&](const torch::Tensor& output, const BatchPart& part) {
      if (step == 1 && part.first == 1) throw std::runtime_error("made to fail");
      return output.square().mean();
    });
}

const std::map<std::string, std::function<void(World&)>> kParts = {
    {"stages", [](World& world) { every_net_and_schedule(world, {.stages = 2}); }},
    {"slabs", [](World& world) { every_net_and_schedule(world, {.slabs = 2}); }},
    {"replicas", [](World& world) { every_net_and_schedule(world, {.replicas = 2}); }},
    {"rules",
     [](World& world) {
       for (const DeviceGrid& grid : {DeviceGrid{.stages = 2}, {.slabs = 2}, {.replicas = 2}})
         rules_and_norms(world, grid);
     }},
    {"square",
     [](World& world) {
       every_net_and_schedule(world, {.stages = 2, .slabs = 2});
       rules_and_norms(world, {.stages = 2, .slabs = 2});
     }},
    {"replicas_of_grids",
     [](World& world) {
       rules_and_norms(world, {.replicas = 2, .stages = 2});
       rules_and_norms(world, {.replicas = 2, .slabs = 2});
       // Of three samples the last replica has none.
       step_alike(world, {.net = tiny("unet"), .grid = {.replicas = 4}, .batch = 3});
     }},
    {"fail", fail_in_a_step}};

int run(const std::string& part) {
  try {
    const auto launch =
        read_launch([](const char* name) { return std::getenv(name); }, host_name());
    const auto world = World::join(*launch);
    end_together(*world, [&] { kParts.at(part)(*world); });
  } catch (const Error& error) {
    std::cerr << error.what() << std::endl;
    return error.exit_code();
  } catch (const std::exception& error) {
    std::cerr << error.what() << std::endl;
    return kExitRuntime;
  }
  return kExitOk;
}

}  // namespace
}  // namespace lamp

int main(int, char** arguments) { return lamp::run(arguments[1]); }
