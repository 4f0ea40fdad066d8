// Opening a run folder, new or old.
#include "lamp/training/run_folder.h"

#include <torch/torch.h>

#include <algorithm>

#include "lamp/base/device.h"
#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/log.h"
#include "lamp/nets/net_factory.h"
#include "lamp/training/auto_settings.h"
#include "lamp/training/execution.h"
#include "lamp/training/run_state.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

// Enough to notice at a resume that the data set is another one: names, sizes on disk, labels.
Json fingerprint(const Dataset& dataset) {
  Json json;
  json["path"] = fs::absolute(dataset.root).string();
  json["labels"] = Json::object();
  for (const auto& [id, name] : dataset.labels) json["labels"][std::to_string(id)] = name;
  json["training"] = Json::array();
  for (const Case& entry : dataset.training) {
    Json row = {{"name", entry.name}};
    std::error_code error;
    std::uintmax_t bytes = fs::file_size(entry.label, error);
    for (const auto& image : entry.images)
      if (fs::is_regular_file(image)) bytes += fs::file_size(image, error);
    row["bytes"] = error ? 0 : bytes;
    if (entry.annotated) row["annotated"] = *entry.annotated;
    json["training"].push_back(std::move(row));
  }
  return json;
}

void check_windows(const TrainConfig& config) {
  const Network shape{.config = config.net, .stride_multiple = stride_multiple(config.net)};
  for (const StageConfig& stage : config.curriculum)
    if (stage.patch) shape.check_window("configuration: curriculum.patch", *stage.patch);
}

void check_class_weights(const TrainConfig& config) {
  const std::size_t found = config.loss.class_weight_values.size();
  const auto classes = static_cast<std::size_t>(config.net.classes);
  if (found == 0 || found == classes) return;
  throw UsageError("configuration: loss.class_weights: found " + std::to_string(found) +
                   " numbers, expected " + std::to_string(classes) +
                   ": one for each label and the background");
}

// Keys whose change would make the saved state meaningless.
void refuse_other_run(const fs::path& run, const Json& config, const Json& dataset) {
  const Json before = read_json(run / "config.json");
  for (const char* key : {"net", "data"}) {
    if (before.value(key, Json()) == config[key]) continue;
    throw UsageError("cannot resume " + run.string() + ": its \"" + key + "\" was " +
                     dump_json(before.value(key, Json()), -1) + ", now " +
                     dump_json(config[key], -1) + "; use the old setting or another run folder");
  }
  const Json seen = read_json(run / "dataset.json");
  if (seen.value("labels", Json()) != dataset["labels"] ||
      seen.value("training", Json()) != dataset["training"]) {
    throw UsageError("cannot resume " + run.string() +
                     ": the data set has changed since (cases, files or labels of " +
                     (run / "dataset.json").string() + "); use another run folder");
  }
  for (const auto& [key, value] : config.items())
    if (before.value(key, Json()) != value)
      log_info("resuming with another \"" + key + "\" than before");
}

// Bits depend on the layout, so "auto" is measured when a run begins and stays what it was then.
// Runs from before this was recorded had the device's usual one.
void keep_layout(RunFolder& folder) {
  ExecutionConfig& execution = folder.config.execution;
  if (execution.layout == "auto" && folder.has_state) {
    const Json before = read_json(folder.path / "config.json").value("execution", Json::object());
    execution.layout = before.value("layout", "auto");
    if (execution.layout == "auto")
      execution.layout = to_string(usual_layout(parse_devices(execution.device).front().type()));
  }
  execution.layout = to_string(training_layout(execution, folder.config.net));
}

fs::path dataset_of(const TrainRequest& request) {
  if (!request.dataset.empty()) return request.dataset;
  if (!fs::exists(request.run / "dataset.json"))
    throw UsageError("train: -d is needed: the folder of a data set");
  return read_json(request.run / "dataset.json").value("path", std::string());
}

Json config_of(const TrainRequest& request) {
  if (request.config) return *request.config;
  if (!fs::exists(request.run / "config.json"))
    throw UsageError("train: -c is needed: a configuration file or a preset (han, liver, demo)");
  return read_json(request.run / "config.json");
}

}  // namespace

void complete_net(TrainConfig& config, const Json& given, const Dataset& dataset) {
  config.net.classes = dataset.labels.rbegin()->first + 1;
  const Case& first = dataset.training.front();
  config.net.in_channels =
      first.images.size() > 1
          ? static_cast<std::int64_t>(first.images.size())
          : read_volume_header(first.images.front(), config.data.read_options()).channels;
  const auto agree = [&](const char* key, std::int64_t found) {
    const Json asked = given.is_object() ? given.value(key, Json()) : Json();
    if (!asked.is_null() && asked != found)
      throw UsageError(std::string("configuration: net.") + key + ": found " + asked.dump() +
                       ", but the data set " + dataset.root.string() + " has " +
                       std::to_string(found) + "; leave it out and it follows from the data");
  };
  agree("classes", config.net.classes);
  agree("in_channels", config.net.in_channels);
}

RunFolder open_run_folder(const TrainRequest& request) {
  RunFolder folder{.path = request.run};
  folder.has_state = fs::exists(state_file(request.run));
  if (folder.has_state && !request.resume) {
    throw UsageError("train: " + request.run.string() +
                     " already holds a run: go on with --resume or choose another folder");
  }
  const Json given = config_of(request);
  folder.config = parse_train_config(given);
  folder.dataset = read_dataset(dataset_of(request));
  if (folder.dataset.training.empty())
    throw InputError("no training cases", folder.dataset.root.string(),
                     "its \"training\" list is empty");
  check_augment(folder.config.augment, folder.dataset.labels);
  complete_net(folder.config, given.value("net", Json()), folder.dataset);
  settle_auto(folder.config, folder.dataset,
              folder.has_state ? read_json(request.run / "config.json") : Json());
  check_windows(folder.config);
  check_class_weights(folder.config);
  keep_layout(folder);
  const Json config = to_json(folder.config);
  const Json dataset = fingerprint(folder.dataset);
  if (folder.has_state) refuse_other_run(request.run, config, dataset);
  if (request.resume && !folder.has_state)
    log_info("nothing to resume in " + request.run.string() + ": starting anew");
  make_output_folder(request.run / "state");
  write_file(request.run / "config.json", dump_json(config) + "\n");
  write_file(request.run / "dataset.json", dump_json(dataset) + "\n");
  return folder;
}

torch::Tensor class_weights(const TrainConfig& config, CaseStore& store,
                            const std::vector<std::size_t>& cases) {
  const auto classes = static_cast<std::size_t>(config.net.classes);
  if (!config.loss.class_weight_values.empty())
    return torch::tensor(config.loss.class_weight_values, torch::kFloat32);
  if (config.loss.class_weights == "uniform") return torch::ones({config.net.classes});
  std::vector<std::int64_t> counts(classes, 0);
  for (const std::size_t index : cases) {
    const auto sample = store.get(index);
    for (std::size_t c = 0; c < classes; ++c) counts[c] += sample->voxel_counts[c];
  }
  return inverse_frequency_weights(counts);
}

}  // namespace lamp
