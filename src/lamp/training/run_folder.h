// The run folder before the first step: what it holds, whether it may be used, and the files that
// describe the run.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <filesystem>
#include <vector>

#include "lamp/data/case_store.h"
#include "lamp/training/train_config.h"
#include "lamp/training/trainer.h"

namespace lamp {

struct RunFolder {
  std::filesystem::path path;
  TrainConfig config;  // net.in_channels and net.classes follow from the data set
  Dataset dataset;
  bool has_state = false;  // a state to go on from
};

// Reads configuration and data set, refuses what cannot work (a run that is there without resume; a
// resume with another network, data set or preprocessing), and writes config.json, dataset.json and
// plan.json.
RunFolder open_run_folder(const TrainRequest& request);

// Sets net.in_channels and net.classes from the data set; throws UsageError if `given`, the
// configuration's "net", says otherwise.
void complete_net(TrainConfig& config, const Json& given, const Dataset& dataset);

// [C] for the loss: the configuration's numbers, ones, or inverse frequencies counted over the
// training cases.
torch::Tensor class_weights(const TrainConfig& config, CaseStore& store,
                            const std::vector<std::size_t>& cases);

}  // namespace lamp
