// Opening a run folder, new or old.
#include "lamp/training/run_folder.h"

#include <torch/types.h>

#include <map>
#include <optional>
#include <utility>

#include "lamp/base/device.h"
#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/log.h"
#include "lamp/base/setting_name.h"
#include "lamp/base/text.h"
#include "lamp/dataset/dataset_lists.h"
#include "lamp/execution/execution_config.h"
#include "lamp/nets/net_factory.h"
#include "lamp/training/auto_settings.h"
#include "lamp/training/batch_source.h"
#include "lamp/training/curriculum_plan.h"
#include "lamp/training/data_check.h"
#include "lamp/training/data_fingerprint.h"
#include "lamp/training/fit_check.h"
#include "lamp/training/nnunet_folds.h"
#include "lamp/training/resume_rules.h"
#include "lamp/training/run_place.h"
#include "lamp/training/run_plan.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

constexpr const char* kSplitFile = "split.json";
constexpr const char* kPlanFile = "plan.json";

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

// Bits depend on the layout, so "auto" is measured when a run begins and stays what it was then.
// Runs from before this was recorded had the device's usual one.
void keep_layout(TrainConfig& config, const RunPosition* position) {
  ExecutionConfig& execution = config.execution;
  if (execution.layout == "auto" && position != nullptr) {
    execution.layout = position->before.execution.layout;
    if (execution.layout == "auto")
      execution.layout = to_string(usual_layout(parse_devices(execution.device).front().type()));
  }
  execution.layout = to_string(training_layout(execution, config.net));
}

// The run's own configuration, whose faults are a damaged file's.
Json read_own_config(const fs::path& run) {
  try {
    Json json = with_run_optimizer(read_json(run / "config.json"));
    parse_train_config(json);
    return json;
  } catch (const UsageError& error) {
    throw InputError({.file = (run / "config.json").string(),
                      .what = "cannot resume",
                      .found = error.what(),
                      .fix = "restore the file or begin anew in another folder"});
  }
}

// A request with all that is known of it before the data is read in full.
class Opening {
 public:
  Opening(const TrainRequest& request, RunFolder& folder) : request_(request), folder_(folder) {}

  void judge();
  void read_configuration();
  void check_configuration();
  void check_data();
  void name_every_fault() const;
  void split_cases_and_check_state();
  void note_unused_files();
  void decide_plan();
  void write();

 private:
  fs::path dataset_path() const;
  Json given_configuration() const;
  bool is_finished() const;
  void check_split();
  std::optional<fs::path> cache_folder() const;
  const fs::path& run() const { return folder_.path; }

  const TrainRequest& request_;
  RunFolder& folder_;
  Json fingerprint_before_, fingerprint_;
  Json given_;                           // the configuration as it was asked for
  std::optional<RunPosition> position_;  // of a run with a state
  std::vector<std::string> changes_;     // by this resume
  bool all_named_ = false;               // the faults of the data
};

// Twice, before and under the lock: another process may have been quicker.
void Opening::judge() {
  RunPlace place = judge_run_place(run());
  if (!request_.dataset.empty()) refuse_place_in_dataset(run(), request_.dataset);
  const auto refuse_run = [&] {
    if (place == RunPlace::kSaved && !request_.resume)
      throw UsageError("train: " + run().string() + " already holds a run: go on with " +
                       setting_name("resume") + " or choose another folder");
  };
  refuse_run();
  if (place == RunPlace::kFree && !request_.config)
    throw UsageError("train: " + setting_name("config") +
                     " is needed: a configuration file or a preset (han, liver, demo)");
  const RunPlace before_lock = place;  // the lock itself makes a begun run of a new folder
  folder_.lock = std::make_unique<OutputLock>(run(), kRunLock);
  const RunPlace locked = judge_run_place(run());
  if (place != RunPlace::kFree || locked != RunPlace::kBegun) place = locked;  // the lock is ours
  refuse_run();
  if (place == RunPlace::kSaved) {
    folder_.state = std::make_unique<SavedState>(run());
    position_ = RunPosition{.before = parse_train_config(read_own_config(run())),
                            .cursor = folder_.state->cursor()};
    check_cursor(position_->cursor, position_->before.curriculum, state_file(run()).string());
    check_loss_sum(position_->cursor, position_->before, state_file(run()).string());
    if (!folder_.state->has_checksum())
      log_warning(state_file(run()).string() +
                  ": carries no checksum, so that a changed number in it may pass unseen; the next "
                  "save writes one");
  } else if (request_.resume) {
    log_info("nothing to resume in " + run().string() + ": starting anew");
  } else if (before_lock == RunPlace::kBegun) {
    log_info("the run that was begun in " + run().string() + " saved nothing: starting anew");
  }
  if (place != RunPlace::kFree)
    refuse_foreign_files(run(), position_ && position_->cursor.epochs_done > 0);
  fingerprint_before_ = place == RunPlace::kFree ? Json() : read_fingerprint(run());
}

fs::path Opening::dataset_path() const {
  if (!request_.dataset.empty()) return request_.dataset;
  if (fingerprint_before_.is_null())
    throw UsageError("train: " + setting_name("dataset") + " is needed: the folder of a data set");
  return fingerprint_before_["path"].get<std::string>();
}

Json Opening::given_configuration() const {
  std::error_code error;
  const bool own = !request_.config;
  if (own && !fs::exists(run() / "config.json", error))
    throw UsageError("train: " + setting_name("config") +
                     " is needed: a configuration file or a preset (han, liver, demo)");
  Json base = own ? read_own_config(run()) : *request_.config;
  if (position_) return configuration_to_resume(base, own, request_.settings, *position_);
  if (own)  // of a run that has saved nothing: all of it is still to come
    return configuration_to_resume(base, own, request_.settings,
                                   {.before = parse_train_config(base), .cursor = {}});
  apply_settings(base, request_.settings);
  return base;
}

void Opening::read_configuration() {
  given_ = given_configuration();
  if (!request_.plan.empty()) adopt_plan(given_, request_.plan);
  folder_.config = parse_train_config(given_);
  std::vector<Fault> faults;
  folder_.dataset = read_dataset(dataset_path(), &faults);
  refuse_place_in_dataset(run(), folder_.dataset);
  if (!faults.empty()) throw InputError(faults.front());
  require_training_cases(folder_.dataset);
}

// Of the training: a case that the list has lost would not be missed.
void Opening::note_unused_files() {
  constexpr std::size_t kShown = 5;
  std::map<std::string, std::vector<std::string>> unused;  // by folder
  for (const LeftOut& file : files_of_no_case(folder_.dataset))
    unused[file.file.parent_path().filename().string()].push_back(file.file.filename().string());
  for (const char* folder : {"imagesTr", "labelsTr"})
    if (const auto& names = unused[folder]; !names.empty())
      folder_.notes.push_back(counted(names.size(), "file") + " in " + folder +
                              (names.size() == 1 ? " belongs" : " belong") +
                              " to no case: " + joined_first(names, kShown));
}

bool Opening::is_finished() const {
  const std::size_t last = folder_.config.curriculum.size() - 1;
  return position_ && position_->is_finished(last, folder_.config.curriculum[last].epochs);
}

void Opening::check_configuration() {
  TrainConfig& config = folder_.config;
  check_augment(config.augment, folder_.dataset.labels);
  complete_net(config, given_.value("net", Json()), folder_.dataset);
  settle_auto(config, folder_.dataset, position_ ? to_json(position_->before) : Json());
  check_windows(config);
  check_class_weights(config);
  if (!is_finished()) {
    check_batch_norm(config, folder_.dataset);
    check_slabs(config, folder_.dataset);
    check_fits(config, folder_.dataset);
  }
  keep_layout(config, position_ ? &*position_ : nullptr);
  if (position_) keep_finished_optimizers(config, given_, *position_);
  if (position_) changes_ = check_resume(run(), *position_, config);
}

std::optional<fs::path> Opening::cache_folder() const {
  const auto cache = cache_options(folder_.config.loader);
  if (!cache) return std::nullopt;
  refuse_place_in_dataset(cache->folder, folder_.dataset, "loader.cache");
  // Makes the folder, so that what is read here need not be read again for the cache.
  const CaseCache made(*cache, folder_.config.data, static_cast<int>(folder_.config.net.classes));
  return made.folder();
}

void Opening::check_data() {
  const auto stamps = cache_folder();
  fingerprint_ = data_fingerprint(folder_.dataset, fingerprint_before_, stamps);
  folder_.data_digest = content_digest(fingerprint_);
  if (position_) {
    refuse_changed_data(run(), fingerprint_before_, fingerprint_, position_->cursor.data);
    if (fingerprint_before_.is_null())
      folder_.notes.push_back(std::string(kFingerprintFile) +
                              " is missing and made again: the data are those of the saved state");
  }
  if (position_ && fingerprint_before_.contains("format")) return;  // checked when the run began
  all_named_ = true;
  check_training_data({.dataset = folder_.dataset.file,
                       .data = folder_.config.data,
                       .content = folder_.data_digest,
                       .stamps = stamps});
}

// After one fault of the data has shown, unless the check that names all has found it.
void Opening::name_every_fault() const {
  if (!all_named_ && !folder_.dataset.file.empty())
    check_training_data({.dataset = folder_.dataset.file, .data = folder_.config.data});
}

void Opening::split_cases_and_check_state() {
  folder_.split = split_dataset(folder_.dataset, folder_.config.validation, folder_.config.seed);
  if (position_) check_split();
  refuse_other_folds(run(), folder_.split.folds);
  if (!position_) return;
  const Cursor& cursor = position_->cursor;
  const StageConfig& stage = position_->before.curriculum[static_cast<std::size_t>(cursor.stage)];
  const std::int64_t cases = std::ssize(folder_.split.training);
  check_step(cursor, stage, cases, state_file(run()).string());
  check_metrics(run(), cursor.epochs_done);
  folder_.state->check(position_->before.net, stage.optimizer,
                       optimizer_place(cursor, position_->before, cases));
}

// Before the first batch, since sizes are known; a run that goes on keeps what it had.
void Opening::decide_plan() {
  std::error_code error;
  const bool has_own = position_ && fs::exists(run() / kPlanFile, error);
  auto plan = resolve_curriculum(folder_.config, folder_.dataset, folder_.split,
                                 {.given = request_.plan,
                                  .earlier = has_own ? run() / kPlanFile : fs::path(),
                                  .threads = request_.threads});
  if (is_finished()) return;  // it was only to be possible
  check_slab_shares(plan, folder_.config, folder_.dataset, folder_.split);
  folder_.plan = std::move(plan);
  for (std::size_t i = 0; i < folder_.plan.size(); ++i)
    folder_.notes.push_back("stage " + std::to_string(i + 1) + " of " +
                            std::to_string(folder_.plan.size()) + " runs as " +
                            told(folder_.plan[i]));
}

// A splits_final.json that has changed would have the network trained on what it is judged by.
void Opening::check_split() {
  const auto refuse_other = [&](const fs::path& known) {
    throw UsageError("cannot resume " + run().string() +
                     ": the held-out cases are others than in " + known.string() + " (now " +
                     folder_.split.origin + "); restore the folds or use another run folder");
  };
  std::error_code error;
  const bool is_there = fs::exists(run() / kSplitFile, error);
  if (is_there) {
    const Json before = read_json(run() / kSplitFile);
    const Json now = to_json(folder_.split, folder_.dataset);
    if (!before.is_object() || before.value("validation", Json()) != now["validation"] ||
        before.value("training", Json()) != now["training"])
      refuse_other(run() / kSplitFile);
  }
  const std::string& known = position_->cursor.split;
  if (!known.empty() && known != split_digest(folder_.split, folder_.dataset))
    refuse_other(state_file(run()));
  if (!is_there)  // lost, or from before there was one
    folder_.notes.push_back(
        std::string(kSplitFile) +
        " is missing and made again: " + counted(folder_.split.validation.size(), "case") +
        " held out, " + folder_.split.origin + (known.empty() ? "" : ", as in the saved state"));
}

void Opening::write() {
  make_output_folder(run() / "state");
  folder_.lock->keep();
  remove_stale_temporaries(run());
  remove_stale_temporaries(run() / "state");
  mark_run_folder(run());
  write_file(run() / kFingerprintFile, dump_json(fingerprint_) + "\n");
  write_file(run() / kSplitFile, dump_json(to_json(folder_.split, folder_.dataset)) + "\n");
  if (!folder_.split.folds.is_null())
    write_file(run() / kFoldsFile, dump_json(folder_.split.folds) + "\n");
  if (!folder_.plan.empty()) write_file(run() / kPlanFile, dump_json(to_json(folder_.plan)) + "\n");
  if (!position_) save_config(folder_);
  if (is_finished())
    folder_.notes.push_back("nothing is left to train in " + run().string() +
                            ": its configuration stays as it is");
  else
    for (const std::string& change : changes_) folder_.notes.push_back("resuming with " + change);
}

}  // namespace

void save_config(const RunFolder& folder) {
  const std::string text = dump_json(to_json(folder.config)) + "\n";
  std::error_code error;
  const fs::path file = folder.path / "config.json";
  if (!fs::exists(file, error) || read_file(file) != text) write_file(file, text);
}

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
  RunFolder folder{.path = plain_run_path(request.run)};
  Opening opening(request, folder);
  opening.judge();
  try {
    opening.read_configuration();
    opening.check_configuration();
    opening.check_data();
  } catch (const InputError& error) {
    if (error.file().starts_with(folder.path.string() + "/")) throw;  // the run's own files
    opening.name_every_fault();
    throw;
  }
  opening.note_unused_files();
  opening.split_cases_and_check_state();
  opening.decide_plan();
  opening.write();
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
