// The table, and how a key finds its row.
#include "lamp/training/resume_rules.h"

#include <algorithm>
#include <iterator>
#include <sstream>

#include "lamp/base/errors.h"
#include "lamp/base/setting_name.h"
#include "lamp/base/text.h"

namespace lamp {
namespace {

struct Row {
  const char* key;  // "*" stands for a stage's number; a row decides on all that lies below it
  ResumeRule rule;
};

// Each key on purpose: a new one must be thought about (resume_rules_test), and is refused until
// then.
constexpr Row kRows[] = {
    {"net", ResumeRule::kNever},
    {"data", ResumeRule::kNever},
    {"sampling", ResumeRule::kNever},
    {"augment", ResumeRule::kNever},
    {"loss", ResumeRule::kNever},
    {"seed", ResumeRule::kNever},
    {"optimizer.name", ResumeRule::kOpenStage},  // the run's: what stages to come begin with
    {"optimizer.lr", ResumeRule::kOpenStage},
    {"optimizer.momentum", ResumeRule::kOpenStage},
    {"optimizer.weight_decay", ResumeRule::kOpenStage},
    {"optimizer.schedule", ResumeRule::kOpenStage},
    {"optimizer.clip_norm", ResumeRule::kOpenStage},
    {"curriculum.*.patch", ResumeRule::kFreshStage},
    {"curriculum.*.batch", ResumeRule::kFreshStage},
    {"curriculum.*.epochs", ResumeRule::kEpochs},
    {"curriculum.*.optimizer.name", ResumeRule::kFreshStage},  // what it remembers is another's
    {"curriculum.*.optimizer.lr", ResumeRule::kOpenStage},
    {"curriculum.*.optimizer.momentum", ResumeRule::kOpenStage},
    {"curriculum.*.optimizer.weight_decay", ResumeRule::kOpenStage},
    {"curriculum.*.optimizer.schedule", ResumeRule::kOpenStage},
    {"curriculum.*.optimizer.clip_norm", ResumeRule::kOpenStage},
    {"validation.every_epochs", ResumeRule::kAlways},
    {"validation.fraction", ResumeRule::kNever},  // held-out cases would be trained on
    {"validation.fold", ResumeRule::kNever},
    {"loader.threads", ResumeRule::kAlways},
    {"loader.memory", ResumeRule::kAlways},
    {"loader.cache", ResumeRule::kAlways},
    {"loader.cache_limit", ResumeRule::kAlways},
    {"execution.device", ResumeRule::kAlways},
    {"execution.split", ResumeRule::kAlways},
    {"execution.precision", ResumeRule::kAlways},
    {"execution.layout", ResumeRule::kAlways},
    {"execution.partition", ResumeRule::kAlways},
    {"execution.microbatches", ResumeRule::kAlways},
    {"execution.schedule", ResumeRule::kAlways},
    {"execution.recompute", ResumeRule::kAlways},
    {"execution.deferred_batch_norm", ResumeRule::kAlways},
    {"execution.memory", ResumeRule::kAlways},
    {"execution.costs", ResumeRule::kAlways},
    {"checkpoint.every_seconds", ResumeRule::kAlways},
};

std::vector<std::string> parts_of(const std::string& key) {
  std::vector<std::string> parts;
  std::istringstream in(key);
  for (std::string part; std::getline(in, part, '.');) parts.push_back(part);
  return parts;
}

// The stage that a key belongs to.
std::optional<std::size_t> stage_of(const std::string& key) {
  const auto parts = parts_of(key);
  if (parts.size() < 2 || parts[0] != "curriculum") return std::nullopt;
  return std::stoul(parts[1]);
}

void collect(const Json& value, const std::string& key,
             std::vector<std::pair<std::string, Json>>& values) {
  const bool stages = key == "curriculum" && value.is_array();
  if (!stages && !(value.is_object() && !value.empty())) {
    values.emplace_back(key, value);
    return;
  }
  std::size_t number = 0;
  for (const auto& [name, member] : value.items())
    collect(member, (key.empty() ? "" : key + ".") + (stages ? std::to_string(number++) : name),
            values);
}

Json value_at(const std::vector<std::pair<std::string, Json>>& values, const std::string& key) {
  const auto found = std::find_if(values.begin(), values.end(),
                                  [&](const auto& entry) { return entry.first == key; });
  return found == values.end() ? Json() : found->second;
}

// Why the key may not change; empty if it may.
std::string objection(const std::string& key, const RunPosition& position, const TrainConfig& now) {
  const ResumeRule rule = resume_rule(key).value_or(ResumeRule::kNever);
  if (rule == ResumeRule::kAlways) return "";
  if (rule == ResumeRule::kNever) return "a run keeps it";
  if (!stage_of(key)) {  // the run's optimizer
    const std::size_t last = now.curriculum.size() - 1;
    return position.is_finished(last, now.curriculum[last].epochs)
               ? "every stage of the run is finished"
               : "";
  }
  const std::size_t stage = *stage_of(key);
  const std::string name = "stage " + std::to_string(stage + 1);
  const std::int64_t epochs = now.curriculum[stage].epochs;
  const auto at = static_cast<std::size_t>(position.cursor.stage);
  if (rule == ResumeRule::kEpochs) {
    if (stage > at) return "";
    if (stage < at) return name + " is finished";
    const std::int64_t done = position.cursor.epoch + (position.cursor.step > 0 ? 1 : 0);
    return epochs >= done ? ""
                          : counted(done, "epoch") + " of " + name + (done == 1 ? " is" : " are") +
                                " done or begun";
  }
  if (rule == ResumeRule::kFreshStage) return position.has_begun(stage) ? name + " has begun" : "";
  return position.is_finished(stage, epochs) ? name + " is finished" : "";
}

std::string shown(const Json& value) {
  std::string text = value.is_null() ? "not set" : dump_json(value, -1);
  if (text.size() <= 60) return text;
  text.resize(57);
  return text.append("...");
}

[[noreturn]] void refuse_resume(const std::filesystem::path& run, const std::string& detail) {
  throw UsageError("cannot resume " + run.string() + ": " + detail +
                   "; use the old setting or another run folder");
}

bool is_at_or_below(const std::string& key, const std::string& place) {
  return key == place || key.starts_with(place + ".");
}

// Another optimizer's momentum and decay mean nothing to this one.
void forget_other_optimizer(Json& optimizer, const Json& name) {
  if (!optimizer.is_object() || optimizer.value("name", Json()) == name) return;
  optimizer.erase("momentum");
  optimizer.erase("weight_decay");
}

// Whether a setting names the optimizer of stage i itself.
bool speaks_of(const std::vector<Setting>& settings, const Json& stage, std::size_t i) {
  const std::string place = "curriculum." + std::to_string(i);
  const bool has_own = stage.is_object() && stage.contains("optimizer");
  return std::any_of(settings.begin(), settings.end(), [&](const Setting& setting) {
    return is_at_or_below(setting.key, place + ".optimizer") ||
           (has_own && (setting.key == place || setting.key == "curriculum"));
  });
}

// What the settings do not give stays: a stage of the run keeps its optimizer, and a new one has
// the run's.
void fill_in_stages(Json& base, const TrainConfig& before) {
  Json& stages = base["curriculum"];
  for (std::size_t i = 0; i < stages.size(); ++i) {
    if (!stages[i].is_object()) continue;
    const Json given = stages[i].value("optimizer", Json());
    if (i < before.curriculum.size() && (given.is_null() || given.is_object())) {
      Json full = to_json(before.curriculum[i].optimizer);
      if (given.is_object()) {
        if (given.contains("name")) forget_other_optimizer(full, given["name"]);
        full.update(given);
      }
      stages[i]["optimizer"] = std::move(full);
    } else if (given.is_null() && !base.contains("optimizer")) {
      throw UsageError(setting_name("set") + ": curriculum." + std::to_string(i) +
                       ": found a stage without \"optimizer\", and the stages before have "
                       "different ones, expected its own; add \"optimizer\": {\"name\": ...}");
    }
  }
}

// A setting of the run's optimizer holds for all stages that are left, except where another speaks
// of the stage itself.
void reach_open_stages(Json& stages, const std::vector<Setting>& settings,
                       const std::vector<bool>& named, const RunPosition& position) {
  std::vector<Setting> ours;
  std::copy_if(settings.begin(), settings.end(), std::back_inserter(ours),
               [](const Setting& setting) { return is_at_or_below(setting.key, "optimizer"); });
  bool reached = ours.empty();
  for (std::size_t i = 0; i < stages.size(); ++i) {
    if (!stages[i].is_object()) continue;
    const Json epochs = stages[i].value("epochs", Json(1));
    if (epochs.is_number_integer() && position.is_finished(i, epochs.get<std::int64_t>())) continue;
    reached = true;
    Json& stage = stages[i];
    for (const Setting& setting : ours) {
      if (named[i] || !stage.contains("optimizer") || !stage["optimizer"].is_object()) break;
      if (setting.key == "optimizer") {
        stage.erase("optimizer");
        break;
      }
      if (setting.key == "optimizer.name")
        forget_other_optimizer(stage["optimizer"], setting.value);
      stage["optimizer"].erase(setting.key.substr(std::string("optimizer.").size()));
    }
  }
  if (!reached)
    throw UsageError(setting_name("set") + ": " + ours.front().key +
                     ": every stage of the run is finished, so it would change nothing; add "
                     "epochs or a stage, too");
}

}  // namespace

std::optional<ResumeRule> resume_rule(const std::string& key) {
  const auto parts = parts_of(key);
  for (const Row& row : kRows) {
    const auto wanted = parts_of(row.key);
    if (wanted.size() > parts.size()) continue;
    if (std::equal(wanted.begin(), wanted.end(), parts.begin(),
                   [](const auto& a, const auto& b) { return a == "*" || a == b; }))
      return row.rule;
  }
  return std::nullopt;
}

std::vector<std::pair<std::string, Json>> configuration_values(const Json& config) {
  std::vector<std::pair<std::string, Json>> values;
  collect(config, "", values);
  return values;
}

bool RunPosition::is_finished(std::size_t stage, std::int64_t epochs) const {
  const auto at = static_cast<std::size_t>(cursor.stage);
  return stage < at || (stage == at && cursor.epoch >= epochs);
}

bool RunPosition::has_begun(std::size_t stage) const {
  const auto at = static_cast<std::size_t>(cursor.stage);
  return stage < at || (stage == at && (cursor.epoch > 0 || cursor.step > 0));
}

Json configuration_to_resume(Json base, bool own, const std::vector<std::string>& settings,
                             const RunPosition& position) {
  std::vector<Setting> given;
  for (const std::string& text : settings) given.push_back(parse_setting(text));
  if (own)
    for (const Setting& setting : given)
      if (setting.key == "optimizer.name" && base.is_object() && base.contains("optimizer"))
        forget_other_optimizer(base["optimizer"], setting.value);
  apply_settings(base, settings);
  if (!base.is_object() || !base.contains("curriculum") || !base["curriculum"].is_array())
    return base;            // parsing will refuse_resume it
  std::vector<bool> named;  // stages whose optimizer the settings speak of
  for (std::size_t i = 0; i < base["curriculum"].size(); ++i)
    named.push_back(speaks_of(given, base["curriculum"][i], i));
  if (own) fill_in_stages(base, position.before);
  reach_open_stages(base["curriculum"], given, named, position);
  return base;
}

void keep_finished_optimizers(TrainConfig& config, const Json& given, const RunPosition& position) {
  const std::size_t both = std::min(config.curriculum.size(), position.before.curriculum.size());
  for (std::size_t i = 0; i < both; ++i) {
    if (!position.is_finished(i, config.curriculum[i].epochs)) continue;
    Json kept = to_json(position.before.curriculum[i].optimizer);
    const Json own = given["curriculum"][i].value("optimizer", Json());
    if (own.is_object()) kept.update(own);
    config.curriculum[i].optimizer = parse_optimizer_config(kept);
  }
}

std::vector<std::string> check_resume(const std::filesystem::path& run, const RunPosition& position,
                                      const TrainConfig& now) {
  const auto stages = [](std::size_t count) { return counted(count, "stage"); };
  std::vector<std::string> changes;
  const std::size_t had = position.before.curriculum.size(), has = now.curriculum.size();
  if (has < had && position.has_begun(has))
    refuse_resume(run, "its \"curriculum\" had " + stages(had) + ", now " + stages(has) +
                           ", and stage " + std::to_string(has + 1) + " has begun");
  if (has != had) changes.push_back("curriculum: " + stages(has) + " instead of " + stages(had));
  const auto before = configuration_values(to_json(position.before));
  const auto after = configuration_values(to_json(now));
  std::vector<std::string> keys;
  for (const auto& [key, value] : before) keys.push_back(key);
  for (const auto& [key, value] : after)
    if (std::find(keys.begin(), keys.end(), key) == keys.end()) keys.push_back(key);
  for (const std::string& key : keys) {
    if (const auto stage = stage_of(key); stage && *stage >= std::min(had, has)) continue;
    const Json old_value = value_at(before, key), value = value_at(after, key);
    if (old_value == value) continue;
    if (const std::string why = objection(key, position, now); !why.empty())
      refuse_resume(run, "its \"" + key + "\" was " + shown(old_value) + ", now " + shown(value) +
                             ", and " + why);
    changes.push_back(key + ": " + shown(value) + " instead of " + shown(old_value));
  }
  return changes;
}

Json with_run_optimizer(Json config) {
  if (!config.is_object() || config.contains("optimizer")) return config;
  const Json stages = config.value("curriculum", Json());
  if (!stages.is_array() || stages.empty()) return config;
  const auto optimizer = [](const Json& stage) {
    return stage.is_object() ? stage.value("optimizer", Json()) : Json();
  };
  const Json first = optimizer(stages.front());
  if (first.is_object() && std::all_of(stages.begin(), stages.end(), [&](const Json& stage) {
        return optimizer(stage) == first;
      }))
    config["optimizer"] = first;
  return config;
}

}  // namespace lamp
