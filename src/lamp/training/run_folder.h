// The run folder before the first step: what it holds, whether it may be used, and the files that
// describe the run. Everything is checked before anything is written.
#pragma once

#include <torch/types.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "lamp/base/output_lock.h"
#include "lamp/cases/case_store.h"
#include "lamp/execution/resolved_execution.h"
#include "lamp/training/case_split.h"
#include "lamp/training/run_state.h"
#include "lamp/training/train_config.h"
#include "lamp/training/trainer.h"

namespace lamp {

struct RunFolder {
  std::filesystem::path path;
  TrainConfig config;  // net.in_channels and net.classes follow from the data set
  Dataset dataset;     // held-out cases are among its training cases, as `split` says
  CaseSplit split;
  std::vector<ResolvedExecution> plan;  // of each stage of the curriculum; none if all is done
  std::unique_ptr<SavedState> state;    // to go on from; none at the start of a run
  std::string data_digest;              // content_digest() of the data set
  std::unique_ptr<OutputLock> lock;     // nobody else's for as long as this lives
  std::vector<std::string> notes;       // to be said once the run's log is open
};

// Reads configuration and data set and refuses what cannot work, leaving the folder as it was: a
// folder that is no run, one that another process trains in, a run that is there without resume, a
// resume on other data or with settings that a run keeps, a damaged state, faults of the data. Then
// writes run.json, data_fingerprint.json, split.json, the folds where it has made them, plan.json
// and, of a new run, config.json. A resumed run's config.json is written by save_config, once it is
// true.
RunFolder open_run_folder(const TrainRequest& request);

// config.json, if it would say anything new: to be called before a state is saved that was reached
// with this configuration.
void save_config(const RunFolder& folder);

// Sets net.in_channels and net.classes from the data set; throws UsageError if `given`, the
// configuration's "net", says otherwise.
void complete_net(TrainConfig& config, const Json& given, const Dataset& dataset);

// [C] for the loss: the configuration's numbers, ones, or inverse frequencies counted over the
// training cases.
torch::Tensor class_weights(const TrainConfig& config, CaseStore& store,
                            const std::vector<std::size_t>& cases);

}  // namespace lamp
