// From JSON to the structs and back.
#include "lamp/training/train_config.h"

#include <filesystem>
#include <utility>

#include "lamp/base/errors.h"
#include "lamp/base/text.h"

namespace lamp {
namespace {

template <typename T>
T positive(ObjectReader& reader, const std::string& key, T fallback, bool zero_allowed = false) {
  const T value = reader.get<T>(key, fallback);
  if (!(value > 0) && !(zero_allowed && value == 0))
    throw_wrong_type(reader.where(key), reader.at(key),
                     zero_allowed ? "zero or more" : "more than zero");
  return value;
}

Json to_json(const OptimizerConfig& config) {
  return {{"name", config.name},         {"lr", config.lr},
          {"momentum", config.momentum}, {"weight_decay", config.weight_decay},
          {"schedule", config.schedule}, {"clip_norm", config.clip_norm}};
}

std::optional<std::array<std::int64_t, 3>> parse_patch(ObjectReader& reader) {
  const Json& patch = reader.at("patch");
  if (patch.is_null() || patch == "whole" || patch == "auto") return std::nullopt;
  const std::string expected = "\"whole\", \"auto\" or three whole numbers of voxels [x, y, z]";
  if (!patch.is_array() || patch.size() != 3)
    throw_wrong_type(reader.where("patch"), patch, expected);
  std::array<std::int64_t, 3> size{};
  for (std::size_t axis = 0; axis < 3; ++axis) {
    if (!patch[axis].is_number_integer() || patch[axis].get<std::int64_t>() < 1)
      throw_wrong_type(reader.where("patch"), patch, expected);
    size[axis] = patch[axis].get<std::int64_t>();
  }
  return size;
}

StageConfig parse_stage(const Json& json, const std::string& where, const Json& optimizer) {
  ObjectReader reader(json, where);
  StageConfig stage;
  stage.patch = parse_patch(reader);
  stage.is_auto_patch = reader.at("patch") == "auto";
  stage.batch = positive(reader, "batch", stage.batch);
  stage.epochs = positive(reader, "epochs", stage.epochs);
  Json merged = optimizer.is_null() ? Json::object() : optimizer;
  if (const Json& own = reader.at("optimizer"); own.is_object()) {
    // Another optimizer's momentum or decay means nothing to this one.
    if (own.contains("name") && merged.value("name", "rmsprop") != own["name"])
      merged = Json::object();
    merged.update(own);
  } else if (!own.is_null()) {
    throw_wrong_type(reader.where("optimizer"), own, "an object {...}");
  }
  stage.optimizer = parse_optimizer_config(merged, reader.where("optimizer"));
  reader.finish();
  return stage;
}

ValidationConfig parse_validation(const Json& json) {
  ObjectReader reader(json, "validation");
  ValidationConfig config;
  config.every_epochs = positive(reader, "every_epochs", config.every_epochs);
  config.fraction = positive(reader, "fraction", config.fraction, true);
  if (config.fraction >= 1)
    throw_wrong_type("validation.fraction", reader.at("fraction"), "0 or more, below 1");
  if (reader.has("fold")) config.fold = reader.get<int>("fold", 0);
  reader.finish();
  return config;
}

LoaderConfig parse_loader(const Json& json) {
  ObjectReader reader(json, "loader");
  LoaderConfig config;
  config.threads = positive(reader, "threads", config.threads);
  const std::string memory = reader.get<std::string>("memory", "auto");
  if (memory != "auto") config.memory = parse_bytes(memory, "configuration: loader.memory");
  config.cache = reader.get<std::string>("cache", config.cache);
  if (config.cache.empty())
    throw_wrong_type(reader.where("cache"), reader.at("cache"), "\"auto\", \"off\" or a folder");
  const std::string limit = reader.get<std::string>("cache_limit", "auto");
  if (limit != "auto") config.cache_limit = parse_bytes(limit, "configuration: loader.cache_limit");
  reader.finish();
  return config;
}

}  // namespace

OptimizerConfig parse_optimizer_config(const Json& json, const std::string& where) {
  ObjectReader reader(json, where);
  OptimizerConfig config;
  config.name = reader.choice("name", config.name, {"rmsprop", "sgd", "adamw"});
  config.lr = positive(reader, "lr", config.lr);
  config.momentum = positive(reader, "momentum", config.name == "sgd" ? 0.9 : 0.0, true);
  config.weight_decay = positive(reader, "weight_decay", config.name == "adamw" ? 0.01 : 0.0, true);
  config.schedule = reader.choice("schedule", config.schedule, {"constant", "cosine"});
  config.clip_norm = positive(reader, "clip_norm", config.clip_norm, true);
  reader.finish();
  return config;
}

std::string StageConfig::describe() const {
  std::string text = is_auto_patch && !patch ? "the largest patch that fits" : "whole volumes";
  if (patch) text = size_text(*patch, "x");
  return text + ", batch " + std::to_string(batch);
}

TrainConfig parse_train_config(const Json& json) {
  ObjectReader reader(json, "");
  TrainConfig config;
  config.net = parse_net_config(reader.at("net"));
  config.data = parse_data_config(reader.at("data"));
  {
    ObjectReader sampling(reader.at("sampling"), "sampling");
    config.centre_by_class = sampling.choice("centre", "voxel", {"voxel", "class"}) == "class";
    sampling.finish();
  }
  config.augment = parse_augment_config(reader.at("augment"));
  config.loss = parse_loss_config(reader.at("loss"));
  const Json& optimizer = reader.at("optimizer");
  parse_optimizer_config(optimizer, "optimizer");  // its own errors, before any stage's
  const Json& curriculum = reader.at("curriculum");
  if (!curriculum.is_array() || curriculum.empty())
    throw_wrong_type("curriculum", curriculum,
                     "a list of stages [{\"patch\", \"batch\", \"epochs\"}]");
  for (std::size_t i = 0; i < curriculum.size(); ++i)
    config.curriculum.push_back(
        parse_stage(curriculum[i], "curriculum." + std::to_string(i), optimizer));
  config.validation = parse_validation(reader.at("validation"));
  config.loader = parse_loader(reader.at("loader"));
  config.execution = parse_execution_config(reader.at("execution"));
  {
    ObjectReader checkpoint(reader.at("checkpoint"), "checkpoint");
    config.checkpoint_seconds =
        positive(checkpoint, "every_seconds", config.checkpoint_seconds, true);
    checkpoint.finish();
  }
  config.seed = reader.get<std::uint64_t>("seed", 0);
  reader.finish();
  return config;
}

Json to_json(const TrainConfig& config) {
  Json json;
  json["net"] = to_json(config.net);
  json["data"] = to_json(config.data);
  json["sampling"] = {{"centre", config.centre_by_class ? "class" : "voxel"}};
  json["augment"] = to_json(config.augment);
  json["loss"] = to_json(config.loss);
  json["curriculum"] = Json::array();
  for (const StageConfig& stage : config.curriculum) {
    const char* word = stage.is_auto_patch ? "auto" : "whole";
    json["curriculum"].push_back({{"patch", stage.patch ? Json(*stage.patch) : Json(word)},
                                  {"batch", stage.batch},
                                  {"epochs", stage.epochs},
                                  {"optimizer", to_json(stage.optimizer)}});
  }
  json["validation"] = {{"every_epochs", config.validation.every_epochs},
                        {"fraction", config.validation.fraction}};
  if (config.validation.fold) json["validation"]["fold"] = *config.validation.fold;
  const auto bytes_or_auto = [](const std::optional<std::int64_t>& bytes) {
    return bytes ? std::to_string(*bytes) : "auto";
  };
  json["loader"] = {{"threads", config.loader.threads},
                    {"memory", bytes_or_auto(config.loader.memory)},
                    {"cache", config.loader.cache},
                    {"cache_limit", bytes_or_auto(config.loader.cache_limit)}};
  json["execution"] = to_json(config.execution);
  json["checkpoint"] = {{"every_seconds", config.checkpoint_seconds}};
  json["seed"] = config.seed;
  return json;
}

void apply_settings(Json& json, const std::vector<std::string>& settings) {
  for (const std::string& setting : settings) {
    const auto equals = setting.find('=');
    if (equals == 0 || equals == std::string::npos)
      throw UsageError("--set: found \"" + setting +
                       "\", expected key=value such as optimizer.lr=1e-4");
    std::string pointer = "/" + setting.substr(0, equals);
    for (char& c : pointer)
      if (c == '.') c = '/';
    const std::string value = setting.substr(equals + 1);
    Json parsed = Json::parse(value, nullptr, /*allow_exceptions=*/false);
    try {
      json[Json::json_pointer(pointer)] = parsed.is_discarded() ? Json(value) : std::move(parsed);
    } catch (const nlohmann::json::exception&) {
      throw UsageError("--set: " + setting + ": there is no such place in the configuration");
    }
  }
}

Json read_config(const std::string& name_or_file, const std::vector<std::string>& settings) {
  Json json;
  if (const auto preset = preset_text(name_or_file)) {
    json = parse_json(*preset, "preset " + name_or_file);
  } else if (std::filesystem::exists(name_or_file)) {
    try {
      json = read_json(name_or_file);
    } catch (const InputError& error) {
      throw UsageError(error.what());  // a broken configuration is a usage error, not damaged data
    }
  } else {
    std::string names;
    for (const auto& name : preset_names()) names += (names.empty() ? "" : ", ") + name;
    throw UsageError("configuration: " + name_or_file + ": no such file, nor a preset (" + names +
                     ")");
  }
  apply_settings(json, settings);
  return json;
}

}  // namespace lamp
