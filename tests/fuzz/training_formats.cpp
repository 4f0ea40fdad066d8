// What training reads and leaves behind: configurations, models, states, folds.
#include <torch/types.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>

#include "fuzz/fuzz_format.h"
#include "lamp/base/csv.h"
#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/json.h"
#include "lamp/base/safetensors.h"
#include "lamp/cases/intensity_check.h"
#include "lamp/cases/preprocess.h"
#include "lamp/dataset/dataset_check.h"
#include "lamp/execution/optimizer.h"
#include "lamp/nets/model_file.h"
#include "lamp/nets/net_factory.h"
#include "lamp/training/nnunet_folds.h"
#include "lamp/training/run_state.h"
#include "lamp/training/train_config.h"
#include "support/ball_dataset.h"

namespace lamp::fuzz {
namespace fs = std::filesystem;
namespace {

constexpr int kOneKeepsItsLength = 5;  // of inputs whose length is damaged, too

// --- Configurations ---------------------------------------------------------------------------

std::string full_config() {
  Json config = to_json(parse_train_config(testing::ball_config()));
  config["augment"] = {{"flip", {{"axes", {"x"}}, {"probability", 0.5}}},
                       {"affine", {{"rotation_degrees", 10}}}};
  config["curriculum"][0]["optimizer"] = {{"name", "sgd"}, {"lr", 0.1}};
  return config.dump(1);
}

void parse_twice(const Json& json) {
  const Json once = to_json(parse_train_config(json));
  if (to_json(parse_train_config(once)) != once)
    throw Contradiction("a configuration reads back as another");
}

void apply_lines(const fs::path& file) {
  Json config = testing::ball_config();
  std::vector<std::string> settings;
  for (const std::string_view line : csv_records(read_file(file))) settings.emplace_back(line);
  apply_settings(config, settings);
  parse_twice(config);
}

FuzzFormat config_format() {
  const auto seeds = [](const fs::path&) {
    const std::string settings = "optimizer.lr=1e-4\ncurriculum.0.patch=[8,8,8]\nnet.width=8\n";
    return std::vector<FuzzFiles>{
        {{"config.json", full_config()}, {"settings.txt", settings}},
        {{"config.json", testing::ball_config().dump(1)}, {"settings.txt", settings}}};
  };
  return {
      .name = "config",
      .words = json_words({"\"optimizer\": 3,", "\"name\": 3", "\"learning_rate\": 1,",
                           "\"patch\": \"auto\"", "\"augment\": [],", "\"loss\": \"dice\",",
                           "\"memory\": \"8GiB\"", "\"fold\": 2,", "\"partition\": [1, 2],",
                           "\"class_weights\": [1, 2],", "\"recompute\": ", "optimizer.name=3",
                           "curriculum.0.optimizer.name=sgd", "loader.memory=1e300GiB", "=", "."}),
      .seeds = seeds,
      .readers = {
          {"configuration",
           [](const fs::path& folder) {
             parse_twice(read_config((folder / "config.json").string(), {}));
           }},
          {"settings", [](const fs::path& folder) { apply_lines(folder / "settings.txt"); }}}};
}

// --- Safetensors ------------------------------------------------------------------------------

// A file taken apart, to be put together with another text in its metadata.
struct TensorFile {
  Json header;
  std::string data;

  // Without its checksum, which would hide all other faults.
  static TensorFile of(const std::string& bytes) {
    std::uint64_t length = 0;
    std::memcpy(&length, bytes.data(), sizeof length);
    TensorFile file{Json::parse(bytes.substr(8, length)), bytes.substr(8 + length)};
    file.header["__metadata__"].erase("checksum");
    return file;
  }
  std::string bytes() const {
    const std::string text = header.dump(-1, ' ', false, Json::error_handler_t::replace);
    const std::uint64_t length = text.size();
    return std::string(reinterpret_cast<const char*>(&length), sizeof length) + text + data;
  }
  std::string with(const std::string& key, const std::string& value) const {
    TensorFile changed = *this;
    changed.header["__metadata__"][key] = value;
    return changed.bytes();
  }
};

const NetConfig kNet = {.width = 2, .depth = 1, .classes = 2};

std::string model_bytes(const fs::path& folder) {
  Model model{.network = make_network(kNet),
              .labels = {{0, "background"}, {1, "liver"}},
              .data = {{"spacing_mm", {1, 1, 2.5}}, {"window", {-21, 89}}}};
  model.network.initialise(4);
  model.mirrored_axes = {0, 1};
  const Intensities values = count_intensities(torch::randn({1, 6, 7, 8}) * 50, {});
  model.intensities = describe_intensities({values, values}, Window({-21, 89}));
  const fs::path file = folder / "model.safetensors";
  save_model(file, model);
  std::string bytes = read_file(file);
  fs::remove(file);
  return bytes;
}

std::string state_bytes(const fs::path& run) {
  Network network = make_network(kNet);
  network.initialise(4);
  const auto optimizer = make_optimizer({}, named_parameters(network));
  for (auto& item : network.chain->named_parameters())
    item.value().mutable_grad() = torch::ones_like(item.value());
  optimizer->step();
  fs::create_directories(run / "state");
  save_state(run, network, *optimizer, {.epoch = 1, .epochs_done = 1});
  std::string bytes = read_file(state_file(run));
  fs::remove(state_file(run));
  return bytes;
}

// The header's length, which damage to the header changes, as it should be.
void repair_length(FuzzFiles& files, Random& random) {
  std::string& bytes = files.front().bytes;
  const std::size_t end = bytes.find("}}", 8);
  if (end == std::string::npos || random.below(kOneKeepsItsLength) == 0) return;
  std::size_t last = end + 2;
  while (last < bytes.size() && bytes[last] == ' ') ++last;
  const std::uint64_t length = last - 8;
  std::memcpy(bytes.data(), &length, sizeof length);
}

std::vector<std::string> tensor_words() {
  return json_words({"\"__metadata__\":", "\"dtype\":\"F32\"", "\"BF16\"", "\"I64\"", "\"shape\":[",
                     "\"data_offsets\":[0,0]", "[0,18446744073709551615]",
                     "\"shape\":[0,4294967296]", "\"x\\n\":", "\"format\":\"lamp-model\"",
                     "\"version\":\"2\""});
}

// What segmenting does with a model, up to the first image.
void use_model(const fs::path& file) {
  const Model model = load_model(file);
  const DataConfig data = parse_data_config(model.data);
  if (usable_intensities(model.intensities, 1))
    compare_intensities(count_intensities(torch::arange(60.0F).view({1, 3, 4, 5}), {}),
                        model.intensities, data.window);
  dump_json(model_config(model));
}

FuzzFormat safetensors_format() {
  const auto seeds = [](const fs::path& folder) {
    const std::string model = model_bytes(folder);
    return std::vector<FuzzFiles>{{{"model.safetensors", TensorFile::of(model).bytes()}},
                                  {{"model.safetensors", model}}};
  };
  return {
      .name = "safetensors",
      .words = tensor_words(),
      .seeds = seeds,
      .readers = {{"tensors", [](const fs::path& f) { read_safetensors(f / "model.safetensors"); }},
                  {"model", [](const fs::path& f) { use_model(f / "model.safetensors"); }}},
      .finish = repair_length};
}

// Damages the description of a network alone.
FuzzFormat model_format() {
  const auto whole = std::make_shared<TensorFile>();
  const auto seeds = [whole](const fs::path& folder) {
    *whole = TensorFile::of(model_bytes(folder));
    const auto text = whole->header["__metadata__"]["config"].get<std::string>();
    return std::vector<FuzzFiles>{{{"model.safetensors", text}},
                                  {{"model.safetensors", Json::parse(text).dump(1)}}};
  };
  return {.name = "model",
          .words = json_words({"\"net\":", "\"labels\":{", "\"data\":{", "\"width\":", "\"depth\":",
                               "\"classes\":", "\"in_channels\":", "\"anatomynet\"", "\"seunet\"",
                               "\"mirrored_axes\":[\"z\"]", "\"intensities\":", "\"window\":[0,1]",
                               "\"1\":\"a\"", "\"spacing_mm\":\"keep\"", "\"percentiles\":{"}),
          .seeds = seeds,
          .readers = {{"model", [](const fs::path& f) { use_model(f / "model.safetensors"); }}},
          .finish = [whole](FuzzFiles& files, Random&) {
            files.front().bytes = whole->with("config", files.front().bytes);
          }};
}

// --- States of training -----------------------------------------------------------------------

void resume(const fs::path& run) {
  const SavedState state(run);
  const std::vector<StageConfig> stages = {{.epochs = 2}, {.epochs = 3}};
  const TrainConfig config{.net = kNet, .curriculum = stages};
  check_cursor(state.cursor(), stages, state_file(run).string());
  check_loss_sum(state.cursor(), config, state_file(run).string());
  const StageConfig& stage = stages[static_cast<std::size_t>(state.cursor().stage)];
  check_step(state.cursor(), stage, 4, state_file(run).string());
  state.check(kNet, {}, optimizer_place(state.cursor(), config, 4));
  Network network = make_network(kNet);
  state.restore(network);
  const auto optimizer = make_optimizer({}, named_parameters(network));
  state.restore(*optimizer, named_parameters(network));
}

std::vector<std::pair<std::string, FuzzFormat::Reader>> state_readers() {
  return {{"resume", resume}, {"metrics", [](const fs::path& run) { check_metrics(run, 3); }}};
}

FuzzFiles state_files(const std::string& state) {
  return {{"state/state.safetensors", state},
          {"metrics.csv", "epoch,stage,loss\n1,0,0.5\n2,0,\"a\nb\"\n3,1,0.25\n"}};
}

FuzzFormat state_format() {
  return {.name = "state",
          .words = tensor_words(),
          .seeds =
              [](const fs::path& run) {
                const std::string state = state_bytes(run);
                return std::vector<FuzzFiles>{state_files(TensorFile::of(state).bytes()),
                                              state_files(state)};
              },
          .readers = state_readers(),
          .finish = repair_length};
}

FuzzFormat cursor_format() {
  const auto whole = std::make_shared<TensorFile>();
  const auto seeds = [whole](const fs::path& run) {
    *whole = TensorFile::of(state_bytes(run));
    return std::vector<FuzzFiles>{
        state_files(whole->header["__metadata__"]["cursor"].get<std::string>())};
  };
  return {.name = "cursor",
          .words = json_words({"\"stage\":", "\"epoch\":", "\"step\":", "\"epochs_done\":",
                               "\"loss_sum\":", "\"best_dice\":", "9223372036854775808", "1.0"}),
          .seeds = seeds,
          .readers = state_readers(),
          .finish = [whole](FuzzFiles& files, Random&) {
            files.front().bytes = whole->with("cursor", files.front().bytes);
          }};
}

// nnU-Net's folds over a data set of two cases, and over one of none.
FuzzFormat folds_format() {
  const auto seeds = [](const fs::path&) {
    return std::vector<FuzzFiles>{
        {{kFoldsFile, R"([{"train": ["a", "b"], "val": ["c"]}, {"train": ["c"], "val": ["a"]}])"}}};
  };
  const auto read = [](const fs::path& folder, const std::vector<std::string>& names) {
    Dataset dataset;
    for (const std::string& name : names) dataset.training.push_back({.name = name});
    read_folds(folder / kFoldsFile, dataset);
  };
  return {.name = "folds",
          .words = json_words({"\"train\":", "\"val\":", "\"a\"", "[]"}),
          .seeds = seeds,
          .readers = {{"folds",
                       [read](const fs::path& folder) {
                         read(folder, {"a", "b", "c"});
                       }},
                      {"no cases", [read](const fs::path& folder) { read(folder, {}); }}}};
}

}  // namespace

std::vector<FuzzFormat> training_formats() {
  return {config_format(), safetensors_format(), model_format(),
          state_format(),  cursor_format(),      folds_format()};
}

}  // namespace lamp::fuzz
