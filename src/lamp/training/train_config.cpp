// From JSON to the structs and back.
#include "lamp/training/train_config.h"

#include <algorithm>
#include <filesystem>
#include <initializer_list>
#include <sstream>
#include <system_error>
#include <utility>

#include "lamp/base/errors.h"
#include "lamp/base/setting_name.h"
#include "lamp/base/text.h"

namespace lamp {
namespace {

constexpr int kMostLoaderThreads = 1024;
constexpr std::size_t kMostStages = 1000;             // each is planned before the first batch
constexpr std::int64_t kMostCounted = 1'000'000'000;  // products of two stay whole numbers

std::optional<Size3> parse_patch(ObjectReader& reader) {
  const Json& patch = reader.at("patch");
  if (patch.is_null() || patch == "whole" || patch == "auto") return std::nullopt;
  const auto size = size3_of(patch);
  if (!size)
    throw_wrong_type(reader.where("patch"), patch,
                     "\"whole\", \"auto\" or " + expected_size3_list() + " voxels");
  return size;
}

StageConfig parse_stage(const Json& json, const std::string& where, const Json& optimizer) {
  if (!json.is_object())
    throw_wrong_type(where, json, "a stage {\"patch\", \"batch\", \"epochs\"}");
  ObjectReader reader(json, where);
  StageConfig stage;
  stage.patch = parse_patch(reader);
  stage.is_auto_patch = reader.at("patch") == "auto";
  stage.batch = positive(reader, "batch", stage.batch);
  stage.epochs = positive(reader, "epochs", stage.epochs);
  for (const auto& [key, count] : {std::pair{"batch", stage.batch}, {"epochs", stage.epochs}})
    if (count > kMostCounted)
      throw_wrong_type(reader.where(key), reader.at(key), "1 to " + std::to_string(kMostCounted));
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

// The parts of a dotted key. An element's number is the same with zeros in front.
std::vector<std::string> place_of(const std::string& key) {
  std::vector<std::string> place;
  std::istringstream parts(key);
  for (std::string part; std::getline(parts, part, '.'); place.push_back(part)) {
    if (part.empty() || part.find_first_not_of("0123456789") != std::string::npos) continue;
    part.erase(0, std::min(part.find_first_not_of('0'), part.size() - 1));
  }
  return place;
}

// The member or element called `part`, made where an object has none yet.
Json& member_of(Json& parent, const std::string& part, const std::string& setting) {
  if (parent.is_null() || parent.is_object()) return parent[part];
  const bool number =
      !part.empty() && part.size() < 6 && part.find_first_not_of("0123456789") == std::string::npos;
  if (parent.is_array() && number && std::stoul(part) < parent.size())
    return parent[std::stoul(part)];
  throw UsageError(setting_name("set") + ": " + setting +
                   ": there is no such place in the configuration" +
                   (parent.is_array() && number
                        ? ": found " + std::to_string(parent.size()) + " entries, counted from 0"
                        : ""));
}

ValidationConfig parse_validation(const Json& json) {
  ObjectReader reader(json, "validation");
  ValidationConfig config;
  config.every_epochs = positive(reader, "every_epochs", config.every_epochs);
  config.fraction = positive(reader, "fraction", config.fraction, true);
  if (config.fraction >= 1)
    throw_wrong_type("validation.fraction", reader.at("fraction"), "0 or more, below 1");
  if (reader.has("fold")) {
    config.fold = reader.get<int>("fold", 0);
    if (*config.fold < 0)
      throw_wrong_type("validation.fold", reader.at("fold"), "a fold's number, from 0");
  }
  reader.finish();
  return config;
}

LoaderConfig parse_loader(const Json& json) {
  ObjectReader reader(json, "loader");
  LoaderConfig config;
  config.threads = positive(reader, "threads", config.threads);
  if (config.threads > kMostLoaderThreads)
    throw_wrong_type(reader.where("threads"), reader.at("threads"),
                     "1 to " + std::to_string(kMostLoaderThreads));
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
  config.optimizer = parse_optimizer_config(optimizer, "optimizer");
  const Json& curriculum = reader.at("curriculum");
  if (!curriculum.is_array() || curriculum.empty())
    throw_wrong_type("curriculum", curriculum,
                     "a list of stages [{\"patch\", \"batch\", \"epochs\"}]");
  if (curriculum.size() > kMostStages)
    throw UsageError("configuration: curriculum: found " +
                     counted(std::ssize(curriculum), "stage") + ", expected at most " +
                     std::to_string(kMostStages) + "; give a stage more epochs");
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
  json["optimizer"] = to_json(config.optimizer);
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

namespace {

// A shorthand is refined by the explicit keys beside it, and a run's own configuration has all of
// them: without this the setting would change nothing, in silence.
void forget_what_it_stands_for(Json& json, const std::string& key) {
  const auto forget = [&](const char* section, std::initializer_list<const char*> names) {
    if (!json.is_object() || !json.contains(section) || !json[section].is_object()) return;
    for (const char* name : names) json[section].erase(name);
  };
  if (key == "loss.name")
    forget("loss", {"dice", "focal_weight", "cross_entropy_weight", "boundary_weight"});
  if (key == "augment.preset")
    forget("augment", {"flip", "rotate90", "affine", "elastic", "intensity", "gamma", "noise"});
}

}  // namespace

Setting parse_setting(const std::string& text) {
  const auto equals = text.find('=');
  if (equals == 0 || equals == std::string::npos)
    throw UsageError(setting_name("set") + ": found \"" + shortened(text) +
                     "\", expected key=value such as optimizer.lr=1e-4");
  const std::string value = text.substr(equals + 1);
  Setting setting{.key = text.substr(0, equals), .value = value};
  if (!Json::accept(value, /*ignore_comments=*/true)) return setting;
  try {
    setting.value = parse_json(value, setting_to("set", setting.key));
  } catch (const InputError& error) {  // a key twice, or too deep
    throw UsageError(error.what());
  }
  return setting;
}

void check_settings(const std::vector<std::string>& settings) {
  std::vector<std::vector<std::string>> places;
  for (const std::string& text : settings) {
    const auto place = place_of(parse_setting(text).key);
    for (std::size_t i = 0; i < places.size(); ++i) {
      const auto [rest, other] =
          std::mismatch(place.begin(), place.end(), places[i].begin(), places[i].end());
      if (rest != place.end() && other != places[i].end()) continue;
      const bool same = rest == place.end() && other == places[i].end();
      throw UsageError(setting_name("set") + ": found " + shortened(settings[i]) + " and " +
                       shortened(text) +
                       (same ? ", two values for one key" : ", of which one lies in the other") +
                       ", expected one; remove one of them");
    }
    places.push_back(place);
  }
}

void apply_settings(Json& json, const std::vector<std::string>& settings) {
  for (const std::string& text : settings) forget_what_it_stands_for(json, parse_setting(text).key);
  for (const std::string& text : settings) {
    Setting setting = parse_setting(text);
    Json* place = &json;
    for (const std::string& part : place_of(setting.key)) place = &member_of(*place, part, text);
    *place = std::move(setting.value);
  }
}

Json read_config(const std::string& name_or_file, const std::vector<std::string>& settings) {
  Json json;
  std::error_code error;  // a link to itself, a name that is too long: no such file
  if (const auto preset = preset_text(name_or_file)) {
    json = parse_json(*preset, "preset " + name_or_file);
  } else if (std::filesystem::exists(name_or_file, error)) {
    json = read_settings_file(name_or_file);
  } else {
    throw UsageError("configuration: " + name_or_file + ": no such file, nor a preset (" +
                     joined(preset_names()) + ")");
  }
  apply_settings(json, settings);
  return json;
}

}  // namespace lamp
