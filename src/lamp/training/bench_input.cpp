// Cold pass, warm pass, patches, and last a consumer in the place of the device.
#include "lamp/training/bench_input.h"

#include <omp.h>
#include <torch/types.h>
#include <torch/utils.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <memory>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "lamp/base/device.h"
#include "lamp/base/errors.h"
#include "lamp/base/host_memory.h"
#include "lamp/base/interrupt.h"
#include "lamp/base/memory_counter.h"
#include "lamp/base/setting_name.h"
#include "lamp/base/stopwatch.h"
#include "lamp/cases/cache_folder.h"
#include "lamp/training/batch_source.h"
#include "lamp/training/bench.h"
#include "lamp/training/case_split.h"
#include "lamp/training/fit_check.h"
#include "lamp/training/run_folder.h"
#include "lamp/training/run_place.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

void stop_if_asked() { throw_if_interrupted("bench has nothing to save"); }

// A folder beside the cached cases, so on the disk that a run would use, but empty at first.
class ScratchCache {
 public:
  ScratchCache(const std::optional<CaseCacheOptions>& configured, const Dataset& dataset) {
    if (!configured) return;
    refuse_place_in_dataset(configured->folder, dataset, "loader.cache");
    check_cache_folder(configured->folder);
    options_ = configured;
    options_->folder /= "bench-" + std::to_string(getpid());
    std::error_code ignored;
    fs::remove_all(options_->folder, ignored);  // of a process of this number that was killed
  }
  ~ScratchCache() {
    std::error_code ignored;
    if (options_) fs::remove_all(options_->folder, ignored);
  }
  ScratchCache(const ScratchCache&) = delete;
  ScratchCache& operator=(const ScratchCache&) = delete;

  const std::optional<CaseCacheOptions>& options() const { return options_; }
  std::int64_t bytes() const {
    std::int64_t total = 0;
    std::error_code error;
    if (!options_) return 0;
    for (const auto& file : fs::directory_iterator(options_->folder, error))
      total += static_cast<std::int64_t>(file.file_size(error));
    return total;
  }

 private:
  std::optional<CaseCacheOptions> options_;
};

// A run's input without the run.
struct Input {
  TrainConfig config;
  Dataset dataset;
  std::vector<std::size_t> cases;

  const StageConfig& stage(std::int64_t number) const {
    return config.curriculum[static_cast<std::size_t>(number - 1)];
  }
};

Input open_input(const InputBenchOptions& options) {
  Input input{.config = parse_train_config(options.config),
              .dataset = read_dataset(options.dataset)};
  require_training_cases(input.dataset);
  const auto stages = static_cast<std::int64_t>(input.config.curriculum.size());
  if (options.stage < 1 || options.stage > stages)
    throw UsageError(setting_name("stage") + ": found " + std::to_string(options.stage) +
                     ", expected 1 to " + std::to_string(stages) +
                     ", the stages of the curriculum");
  complete_net(input.config, options.config.value("net", Json()), input.dataset);
  check_augment(input.config.augment, input.dataset.labels);
  input.cases = split_dataset(input.dataset, input.config.validation, input.config.seed).training;
  if (options.cases > 0 && options.cases < std::ssize(input.cases))
    input.cases.resize(static_cast<std::size_t>(options.cases));
  return input;
}

// Seconds until every case was there once, on the loader's threads.
double seconds_of_all_cases(const Input& input, CaseStore& store) {
  const Stopwatch start;
  Prefetcher<bool> cases({.last = std::ssize(input.cases),
                          .threads = input.config.loader.threads,
                          .ahead = input.config.loader.threads},
                         [&](std::int64_t i) {
                           omp_set_num_threads(1);
                           return store.get(input.cases[static_cast<std::size_t>(i)]) != nullptr;
                         });
  while (cases.next()) stop_if_asked();
  return start.seconds();
}

Json pass(const Input& input, CaseStore& store) {
  const double seconds = seconds_of_all_cases(input, store);
  const auto count = std::ssize(input.cases);
  return {{"seconds", seconds},
          {"volumes_per_second", static_cast<double>(count) / seconds},
          {"prepared", store.prepared()}};
}

// How the cases are stored: voxel type -> cases; and the bytes in memory.
Json storage(const Input& input, CaseStore& store) {
  std::map<std::string, int> types;
  std::int64_t bytes = 0;
  for (const std::size_t index : input.cases) {
    const auto sample = store.get(index);
    ++types[c10::toString(sample->stored.scalar_type())];
    bytes += static_cast<std::int64_t>(sample->stored.nbytes() + sample->label.nbytes());
  }
  return {{"image_types", types}, {"voxel_bytes", bytes}};
}

double patches_per_second(const Input& input, const BatchPlan& plan, CaseStore& store,
                          std::int64_t first, std::int64_t last) {
  std::int64_t patches = 0;
  const Stopwatch start;
  auto batches = prefetch_batches(plan, store, input.config.loader, first, last);
  while (const auto batch = batches.next()) {
    patches += batch->label.size(0);
    stop_if_asked();
  }
  return static_cast<double>(patches) / start.seconds();
}

double measured_step_seconds(const Input& input, const StageConfig& stage, const Batch& batch) {
  const Json step =
      bench_step({.net = input.config.net,
                  .input = {batch.label.size(3), batch.label.size(2), batch.label.size(1)},
                  .batch = batch.label.size(0),
                  .optimizer = stage.optimizer,
                  .execution = input.config.execution,
                  .rounds = 1,
                  .seed = input.config.seed});
  return step["seconds"][0].get<double>();
}

// Busy for `seconds`, with every core if the device is the CPU.
void occupy(c10::Device device, double seconds) {
  const Stopwatch start;
  if (!device.is_cpu()) {
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
    return;
  }
  const torch::Tensor square = torch::ones({256, 256});
  while (start.seconds() < seconds) torch::mm(square, square);
}

struct Waits {
  double first = 0;  // until the first batch
  double later = 0, busy = 0;
};

Waits waits_of(const Input& input, const BatchPlan& plan, CaseStore& store, std::int64_t steps,
               double step_seconds) {
  const torch::NoGradGuard no_grad;
  const c10::Device device = parse_devices(input.config.execution.device).front();
  Waits waits;
  auto batches = prefetch_batches(plan, store, input.config.loader, 0, steps);
  for (std::int64_t step = 0; step < steps; ++step) {
    stop_if_asked();
    const Stopwatch start;
    const auto batch = batches.next();
    (step == 0 ? waits.first : waits.later) += start.seconds();
    const Stopwatch work;
    occupy(device, step_seconds);
    waits.busy += work.seconds();
  }
  return waits;
}

Json input_description(const Input& input, const InputBenchOptions& options) {
  const StageConfig& stage = input.stage(options.stage);
  return {{"dataset", input.dataset.name},
          {"cases", input.cases.size()},
          {"stage", options.stage},
          {"patch", stage.patch ? Json(*stage.patch) : Json("whole")},
          {"batch", stage.batch},
          {"threads", at::get_num_threads()},
          {"loader_threads", input.config.loader.threads}};
}

// One value a round, after a warm-up.
std::vector<double> patch_rates(const Input& input, const BatchPlan& plan, CaseStore& store,
                                std::int64_t steps, int rounds) {
  std::vector<double> rates;
  for (int round = 0; round <= rounds; ++round) {
    const double rate = patches_per_second(input, plan, store, round * steps, (round + 1) * steps);
    if (round > 0) rates.push_back(rate);
  }
  return rates;
}

Json device_waits(const Input& input, const BatchPlan& plan, CaseStore& store, std::int64_t steps,
                  double step_seconds) {
  const Waits waits = waits_of(input, plan, store, steps, step_seconds);
  return {{"name", input.config.execution.device},
          {"step_seconds", step_seconds},
          {"steps", steps},
          {"busy_seconds", waits.busy},
          {"first_wait_seconds", waits.first},
          {"wait_seconds", waits.later},
          {"wait_share", waits.later / (waits.later + waits.busy)}};
}

}  // namespace

Json bench_input(const InputBenchOptions& options) {
  count_cpu_memory();
  const Input input = open_input(options);
  const StageConfig& stage = input.stage(options.stage);
  const auto index = static_cast<std::size_t>(options.stage - 1);
  check_batch_fits(input.config, input.dataset, input.cases, index);
  if (!options.step_seconds) check_stage_fits(input.config, input.dataset, index);
  const ScratchCache scratch(cache_options(input.config.loader), input.dataset);
  CaseStoreOptions stored = store_options(input.config.loader);
  stored.cache = scratch.options();
  reset_peak_bytes(c10::kCPU);
  reset_peak_resident_bytes();
  Json result = input_description(input, options);
  auto store = std::make_unique<CaseStore>(input.dataset, input.config.data, stored);
  result["cold"] = pass(input, *store);
  if (stored.cache) {  // without it a new store would only be cold again
    store = std::make_unique<CaseStore>(input.dataset, input.config.data, stored);
    result["warm"] = pass(input, *store);
  }
  const BatchPlan plan(stage, options.stage - 1, input.config.centre_by_class, input.config.seed,
                       input.cases, Augmenter(input.config.augment, input.dataset.labels));
  const std::int64_t steps = options.batches > 0
                                 ? options.batches
                                 : std::clamp<std::int64_t>(plan.steps_per_epoch(), 4, 16);
  const auto rates = patch_rates(input, plan, *store, steps, options.rounds);
  result["rounds"] = rates;
  result["patches_per_second"] =
      std::accumulate(rates.begin(), rates.end(), 0.0) / static_cast<double>(rates.size());
  result["volumes_per_second"] = result["cold"]["volumes_per_second"];
  result["peak_bytes"] = {peak_bytes(c10::kCPU)};
  result["peak_resident_bytes"] = peak_resident_bytes();
  result["stored"] = storage(input, *store);
  result["cache"] = stored.cache ? Json(stored.cache->folder.parent_path().string()) : Json("off");
  result["cache_bytes"] = scratch.bytes();
  const double step_seconds = options.step_seconds
                                  ? *options.step_seconds
                                  : measured_step_seconds(input, stage, plan.make(0, *store));
  result["device"] = device_waits(input, plan, *store, steps, step_seconds);
  return result;
}

}  // namespace lamp
