// Tensor names: "model.<name>", "optimizer.<parameter>:<slot>", "random.cpu"; the cursor is JSON in
// the metadata. The number of the optimizer's tensors stands there, too: whether there is momentum
// follows from the configuration only as long as nobody changes it at a resume.
#include "lamp/training/run_state.h"

#include <ATen/CPUGeneratorImpl.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/json.h"
#include "lamp/base/safetensors.h"
#include "lamp/base/text.h"
#include "lamp/execution/loss_scaler.h"
#include "lamp/nets/net_factory.h"

namespace lamp {
namespace {

constexpr const char* kOptimizerTensors = "optimizer_tensors";
constexpr double kMostSeconds = 1e10;  // three hundred years

Json cursor_json(const Cursor& cursor) {
  Json json = {{"stage", cursor.stage},        {"epoch", cursor.epoch},
               {"step", cursor.step},          {"epochs_done", cursor.epochs_done},
               {"loss_sum", cursor.loss_sum},  {"epoch_seconds", cursor.epoch_seconds},
               {"best_dice", cursor.best_dice}};
  if (!cursor.data.empty()) json["data"] = cursor.data;
  if (!cursor.split.empty()) json["split"] = cursor.split;
  return json;
}

[[noreturn]] void refuse_state(const std::string& file, Fault rest) {
  rest.file = file;
  rest.what = "cannot resume";
  rest.fix =
      "begin anew in another folder, or put a copy of this file back (the models "
      "last.safetensors and best.safetensors can still be used)";
  throw InputError(std::move(rest));
}

std::int64_t whole_number(const Json& json, const char* key, const std::string& file) {
  const Json value = json.value(key, Json());
  if (!value.is_number_integer() ||
      (value.is_number_unsigned() && !std::in_range<std::int64_t>(value.get<std::uint64_t>())))
    refuse_state(file, {.found = std::string("a damaged cursor: \"") + key +
                                 "\": " + value.dump().substr(0, 40),
                        .expected = "a whole number"});
  return value.get<std::int64_t>();
}

double number(const Json& json, const char* key, const std::string& file) {
  const Json value = json.value(key, Json());
  if (!value.is_number() || !std::isfinite(value.get<double>()))
    refuse_state(file,
                 {.found = std::string("a damaged cursor: \"") + key + "\": " +
                           value.dump(-1, ' ', false, Json::error_handler_t::replace).substr(0, 40),
                  .expected = "a number"});
  return value.get<double>();
}

// Empty in a file of before there were any.
std::string digest(const Json& json, const char* key, const std::string& file) {
  const Json value = json.value(key, Json(""));
  if (!value.is_string())
    refuse_state(file, {.found = std::string("a damaged cursor: \"") + key +
                                 "\": " + value.dump().substr(0, 40),
                        .expected = "a digest"});
  return value.get<std::string>();
}

Cursor parse_cursor(const std::map<std::string, std::string>& metadata, const std::string& file) {
  const auto format = metadata.find("format");
  const auto found = metadata.find("cursor");
  if (format == metadata.end() || format->second != "lamp-state" || found == metadata.end())
    refuse_state(file, {.found = "no training state of lamp",
                        .expected = "\"format\": \"lamp-state\" and a \"cursor\" in its metadata"});
  const auto version = metadata.find("version");
  if (version == metadata.end() || version->second != "1")
    refuse_state(
        file,
        {.found = "version " +
                  (version == metadata.end() ? "none" : printable(version->second.substr(0, 20))) +
                  " of the state",
         .expected = "1"});
  const Json json = parse_json(found->second, file + " (cursor)");
  if (!json.is_object())
    refuse_state(file, {.found = "a damaged cursor", .expected = "a JSON object"});
  return {.stage = whole_number(json, "stage", file),
          .epoch = whole_number(json, "epoch", file),
          .step = whole_number(json, "step", file),
          .epochs_done = whole_number(json, "epochs_done", file),
          .loss_sum = number(json, "loss_sum", file),
          .epoch_seconds = number(json, "epoch_seconds", file),
          .best_dice = number(json, "best_dice", file),
          .data = digest(json, "data", file),
          .split = digest(json, "split", file)};
}

void check_range(const char* key, std::int64_t found, std::int64_t most, const std::string& file) {
  if (found >= 0 && found <= most) return;
  refuse_state(file,
               {.found = std::string("a damaged cursor: \"") + key + "\": " + std::to_string(found),
                .expected = "0 to " + std::to_string(most) + " as the run's configuration says"});
}

std::map<std::string, torch::Tensor> state_of(const Network& network) {
  std::map<std::string, torch::Tensor> tensors;
  for (const auto& [name, tensor] : network.state()) tensors["model." + name] = tensor;
  return tensors;
}

}  // namespace

std::filesystem::path state_file(const std::filesystem::path& run) {
  return run / "state" / "state.safetensors";
}

void save_state(const std::filesystem::path& run, const Network& network,
                torch::optim::Optimizer& optimizer, const Cursor& cursor) {
  SafeTensors content{
      .tensors = state_of(network),
      .metadata = {
          {"format", "lamp-state"}, {"version", "1"}, {"cursor", cursor_json(cursor).dump()}}};
  const auto remembered = optimizer_state(optimizer, named_parameters(network));
  for (const auto& [name, tensor] : remembered) content.tensors["optimizer." + name] = tensor;
  content.metadata[kOptimizerTensors] = std::to_string(remembered.size());
  content.tensors["random.cpu"] = at::detail::getDefaultCPUGenerator().get_state();
  write_safetensors(state_file(run), content);
}

void check_cursor(const Cursor& cursor, const std::vector<StageConfig>& stages,
                  const std::string& file) {
  check_range("stage", cursor.stage, std::ssize(stages) - 1, file);
  const StageConfig& stage = stages[static_cast<std::size_t>(cursor.stage)];
  check_range("epoch", cursor.epoch, stage.epochs, file);
  check_range("step", cursor.step,
              cursor.epoch < stage.epochs ? std::numeric_limits<std::int64_t>::max() : 0, file);
  std::int64_t done = cursor.epoch;
  for (std::int64_t i = 0; i < cursor.stage; ++i)
    done += stages[static_cast<std::size_t>(i)].epochs;
  if (cursor.epochs_done != done)
    refuse_state(
        file, {.found = "a damaged cursor: \"epochs_done\": " + std::to_string(cursor.epochs_done),
               .expected = std::to_string(done) + " at this place in the curriculum"});
  const bool dice = cursor.best_dice == -1 || (cursor.best_dice >= 0 && cursor.best_dice <= 1);
  if (cursor.epoch_seconds < 0 || cursor.epoch_seconds > kMostSeconds || !dice)
    refuse_state(
        file, {.found = "a damaged cursor: \"epoch_seconds\": " + shortest(cursor.epoch_seconds) +
                        " and \"best_dice\": " + shortest(cursor.best_dice),
               .expected = "the seconds of an epoch, and -1 or 0 to 1"});
}

void check_step(const Cursor& cursor, const StageConfig& stage, std::int64_t training_cases,
                const std::string& file) {
  const std::int64_t steps = (training_cases + stage.batch - 1) / stage.batch;
  check_range("step", cursor.step, steps - 1, file);
}

void check_loss_sum(const Cursor& cursor, const TrainConfig& config, const std::string& file) {
  // A loss is a float. Overlap, focal and cross entropy are zero or more but for their rounding;
  // only the boundary term, a signed distance, may be less.
  constexpr double kRounding = 1e-3;
  const auto steps = static_cast<double>(cursor.step);
  double weights = static_cast<double>(config.net.classes);
  for (const double weight : config.loss.class_weight_values) weights += weight;
  const double most = steps * std::numeric_limits<float>::max();
  const double least = config.loss.boundary_weight > 0 ? -most : -steps * weights * kRounding;
  if (cursor.loss_sum >= least && cursor.loss_sum <= most) return;
  refuse_state(file, {.found = "a damaged cursor: \"loss_sum\": " + shortest(cursor.loss_sum),
                      .expected = "the sum of the losses of " + counted(cursor.step, "step")});
}

OptimizerPlace optimizer_place(const Cursor& cursor, const TrainConfig& config,
                               std::int64_t training_cases) {
  OptimizerPlace place;
  std::int64_t here = 0;  // in the cursor's stage
  for (std::int64_t i = 0; i <= cursor.stage; ++i) {
    const StageConfig& stage = config.curriculum[static_cast<std::size_t>(i)];
    const std::int64_t steps = (training_cases + stage.batch - 1) / stage.batch;
    here = i < cursor.stage ? stage.epochs * steps : cursor.epoch * steps + cursor.step;
    place.most_steps += here;
  }
  const OptimizerConfig& optimizer =
      config.curriculum[static_cast<std::size_t>(cursor.stage)].optimizer;
  const bool remembers = optimizer.name != "sgd" || optimizer.momentum > 0;
  const bool all_left_out =
      config.execution.precision == "fp16" && here <= LossScaler::kMostLeftOut;
  place.least_steps = here > 0 && remembers && !all_left_out ? 1 : 0;
  place.has_momentum = place.least_steps > 0 && optimizer.name != "adamw" && optimizer.momentum > 0;
  return place;
}

void check_metrics(const std::filesystem::path& run, std::int64_t epochs) {
  const std::filesystem::path file = run / "metrics.csv";
  std::error_code error;
  if (epochs == 0 || !std::filesystem::exists(file, error)) return;
  const std::string text = read_file(file);
  const auto refuse_table = [&](const std::string& found) {
    throw InputError({.file = file.string(),
                      .what = "cannot resume",
                      .found = found,
                      .expected = "the rows of this run's epochs",
                      .fix = "move the file away to go on without them"});
  };
  if (!text.starts_with("epoch,stage,")) refuse_table("another table");
  std::int64_t rows = -1;  // less the header
  bool quoted = false;     // a label's name may hold a line break
  std::size_t start = 0;
  for (std::size_t i = 0; i < text.size() && rows < epochs; ++i) {
    if (text[i] == '"') quoted = !quoted;
    if (text[i] != '\n' || quoted) continue;
    const std::string number = std::to_string(++rows) + ",";
    if (rows > 0 && text.compare(start, number.size(), number) != 0)
      refuse_table("row " + std::to_string(rows) + " beginning \"" +
                   printable(text.substr(start, std::min<std::size_t>(i - start, 20))) + "\"");
    start = i + 1;
  }
}

SavedState::SavedState(const std::filesystem::path& run) : file_(state_file(run)) {
  SafeTensors content;
  try {
    content = read_safetensors(file_);
  } catch (const InputError& error) {
    Fault fault = error.fault();
    fault.file = file_.string();
    fault.what = "cannot resume";
    fault.fix += (fault.fix.empty() ? "" : "; else ") +
                 std::string("begin anew in another folder, or put a copy of this file back");
    throw InputError(std::move(fault));
  }
  cursor_ = parse_cursor(content.metadata, file_.string());
  has_checksum_ = content.has_checksum;
  optimizer_tensors_ = content.metadata[kOptimizerTensors];
  for (auto& [name, tensor] : content.tensors) {
    if (name.rfind("model.", 0) == 0)
      weights_[name] = std::move(tensor);
    else if (name.rfind("optimizer.", 0) == 0)
      optimizer_[name.substr(10)] = std::move(tensor);
    else if (name == "random.cpu")
      random_ = std::move(tensor);
  }
}

void SavedState::check(const NetConfig& net, const OptimizerConfig& optimizer,
                       OptimizerPlace place) const {
  Network network = make_network(net);
  const auto wanted = state_of(network);
  for (const auto& [name, tensor] : wanted) {
    const std::string shown = printable(name.substr(std::string("model.").size()));
    const auto found = weights_.find(name);
    if (found == weights_.end())
      refuse_state(file_.string(), {.found = "the network's " + shown + " is missing"});
    if (found->second.sizes() != tensor.sizes() || found->second.dtype() != tensor.dtype())
      refuse_state(file_.string(),
                   {.found = "the network's " + shown + " of " +
                             c10::str(found->second.dtype(), " ", found->second.sizes()),
                    .expected = c10::str(tensor.dtype(), " ", tensor.sizes())});
    if (tensor.is_floating_point() && !found->second.isfinite().all().item<bool>())
      refuse_state(file_.string(),
                   {.found = "the network's " + shown + " holds numbers that are not finite"});
  }
  if (weights_.size() != wanted.size())
    refuse_state(file_.string(),
                 {.found = std::to_string(weights_.size()) + " tensors of a network",
                  .expected = std::to_string(wanted.size())});
  const std::string remembered = std::to_string(optimizer_.size());
  if (remembered == optimizer_tensors_) place.has_momentum = false;  // none is missing
  try {
    check_optimizer_state(optimizer, named_parameters(network), optimizer_, place);
  } catch (const Error& error) {
    refuse_state(file_.string(), {.found = error.what()});
  }
  if (!optimizer_tensors_.empty() && remembered != optimizer_tensors_)
    refuse_state(file_.string(), {.found = remembered + " tensors of an optimizer",
                                  .expected = printable(optimizer_tensors_.substr(0, 20))});
  const at::Generator trial = at::make_generator<at::CPUGeneratorImpl>();
  const torch::Tensor sample = trial.get_state();
  if (!random_.defined() || random_.sizes() != sample.sizes() || random_.dtype() != sample.dtype())
    refuse_state(file_.string(),
                 {.found = "a random state that is " +
                           (random_.defined() ? c10::str(random_.dtype(), " ", random_.sizes())
                                              : std::string("missing")),
                  .expected = c10::str(sample.dtype(), " ", sample.sizes())});
  try {
    at::Generator(trial).set_state(random_);
  } catch (const c10::Error&) {
    refuse_state(file_.string(), {.found = "the random state holds no state of torch's generator"});
  }
}

void SavedState::restore(Network& network) const {
  const torch::NoGradGuard no_grad;
  auto wanted = state_of(network);
  for (auto& [name, tensor] : wanted) {
    const auto found = weights_.find(name);
    TORCH_CHECK(found != weights_.end() && found->second.sizes() == tensor.sizes(),
                "check() was not asked about ", name);
    tensor.copy_(found->second);
  }
  at::Generator generator = at::detail::getDefaultCPUGenerator();
  generator.set_state(random_);
}

void SavedState::restore(torch::optim::Optimizer& optimizer,
                         const NamedParameters& parameters) const {
  restore_optimizer(optimizer, parameters, optimizer_);
}

}  // namespace lamp
