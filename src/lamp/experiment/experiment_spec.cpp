// Reads the JSON of an experiment; every condition becomes a whole training configuration.
#include "lamp/experiment/experiment_spec.h"

#include <algorithm>
#include <set>

#include "lamp/base/errors.h"
#include "lamp/base/text.h"
#include "lamp/training/train_config.h"

namespace lamp {
namespace {

Size3 parse_triple(const Json& json, const std::string& where) {
  if (const auto size = size3_of(json)) return *size;
  throw_wrong_type(where, json, expected_size3_list());
}

const Json& list_at(ObjectReader& reader, const std::string& key) {
  static const Json kNone = Json::array();
  const Json& list = reader.at(key);
  if (list.is_null()) return kNone;
  if (!list.is_array()) throw_wrong_type(reader.where(key), list, "a list");
  return list;
}

std::vector<std::string> strings_at(ObjectReader& reader, const std::string& key) {
  std::vector<std::string> texts;
  for (const Json& text : list_at(reader, key)) {
    if (!text.is_string()) throw_wrong_type(reader.where(key), text, "a string");
    texts.push_back(text.get<std::string>());
  }
  return texts;
}

double share_at(ObjectReader& reader, const std::string& key, double fallback) {
  const double share = reader.get<double>(key, fallback);
  if (!(share >= 0 && share < 1))
    throw_wrong_type(reader.where(key), reader.at(key), "0 or more, below 1");
  return share;
}

int count_at(ObjectReader& reader, const std::string& key, int fallback) {
  const int count = reader.get<int>(key, fallback);
  if (count < 1) throw_wrong_type(reader.where(key), reader.at(key), "1 or more");
  return count;
}

std::optional<PhantomOptions> parse_phantoms(const Json& json) {
  if (json.is_null()) return std::nullopt;
  ObjectReader reader(json, "phantoms");
  PhantomOptions options;
  options.kind = reader.get<std::string>("kind", options.kind);
  phantom_labels(options.kind);  // throws for an unknown one
  if (reader.has("size")) options.size = parse_triple(reader.at("size"), reader.where("size"));
  options.train = count_at(reader, "train", options.train);
  options.test = count_at(reader, "test", options.test);
  options.seed = reader.get<std::uint64_t>("seed", 0);
  reader.finish();
  return options;
}

// {"patch": [x, y, z] or "whole", "overlap"} over what is there.
void parse_segment(const Json& json, const std::string& where, Condition& condition) {
  ObjectReader reader(json, where);
  if (const Json& patch = reader.at("patch"); patch == "whole") {
    condition.patch = "whole";
  } else if (!patch.is_null()) {
    condition.patch = size_text(parse_triple(patch, reader.where("patch")));
  }
  condition.overlap = share_at(reader, "overlap", condition.overlap);
  reader.finish();
}

Condition parse_condition(const Json& json, const std::string& where, const Json& train,
                          const Json& segment) {
  ObjectReader reader(json, where);
  Condition condition{.name = reader.get<std::string>("name", ""), .patch = "whole"};
  if (condition.name.empty()) throw_wrong_type(reader.where("name"), {}, "the row's name");
  parse_segment(segment, "segment", condition);
  parse_segment(reader.at("segment"), reader.where("segment"), condition);
  condition.train = train;
  if (reader.has("train")) condition.train.merge_patch(reader.at("train"));
  // Every default filled in, so that a finished cell is known by all that it depends on.
  condition.train = to_json(parse_train_config(condition.train));
  condition.train.erase("seed");
  for (const char* key : {"classes", "in_channels"})
    condition.train["net"].erase(key);  // the data's
  condition.hide = share_at(reader, "hide", 0);
  condition.complete = share_at(reader, "complete_cases", 0);
  if (condition.hide + condition.complete >= 1)
    throw_wrong_type(reader.where("complete_cases"), reader.at("complete_cases"),
                     "less than 1 - \"hide\": the other cases cannot lose so much");
  condition.as_missing =
      reader.choice("hidden_as", "missing", {"missing", "background"}) == "missing";
  condition.starts_from = reader.get<std::string>("starts_from", "");
  condition.paper = reader.get<std::string>("paper", "");
  reader.finish();
  return condition;
}

void parse_timings(const Json& json, Experiment& experiment) {
  if (json.is_null()) return;
  ObjectReader reader(json, "timings");
  const auto input = parse_triple(reader.at("input"), reader.where("input"));
  const double overlap = share_at(reader, "overlap", 0.5);
  const auto classes = reader.get<std::int64_t>("classes", 10);
  experiment.rounds = count_at(reader, "rounds", 3);
  for (const Json& json_row : list_at(reader, "rows")) {
    ObjectReader row(json_row, "timings.rows");
    Timing timing{.name = row.get<std::string>("name", ""), .input = input, .overlap = overlap};
    Json net = row.at("net");
    if (net.is_object()) net["classes"] = classes;
    timing.net = parse_net_config(net);
    if (row.at("patch") != "whole")
      timing.patch = parse_triple(row.at("patch"), row.where("patch"));
    timing.paper = row.get<std::string>("paper", "");
    row.finish();
    experiment.timings.push_back(std::move(timing));
  }
  reader.finish();
}

std::optional<Control> parse_control(const Json& json) {
  if (json.is_null()) return std::nullopt;
  ObjectReader reader(json, "control");
  Control control;
  for (const Json& patch : list_at(reader, "patches"))
    control.patches.push_back(parse_triple(patch, reader.where("patches")));
  control.train_cases = count_at(reader, "train", control.train_cases);
  control.test_cases = count_at(reader, "test", control.test_cases);
  control.steps = count_at(reader, "steps", control.steps);
  reader.finish();
  return control;
}

Claim parse_claim(const Json& json) {
  ObjectReader reader(json, "claims");
  Claim claim{.text = reader.get<std::string>("claim", "")};
  const auto rows = [&](const char* first, const char* second, Claim::Kind kind) {
    if (!reader.has(first)) return false;
    claim.kind = kind;
    claim.first = reader.get<std::string>(first, "");
    claim.second = reader.get<std::string>(second, "");
    return true;
  };
  const bool known = rows("better", "than", Claim::kBetter) || rows("ahead", "of", Claim::kAhead) ||
                     rows("not_worse", "than", Claim::kNotWorse) ||
                     rows("faster", "than", Claim::kFaster);
  if (!known && reader.has("chance")) {
    claim.kind = Claim::kChance;
    claim.first = size_text(parse_triple(reader.at("chance"), reader.where("chance")));
  } else if (!known) {
    throw_wrong_type("claims", json,
                     "one of \"better\", \"ahead\", \"not_worse\", \"faster\", \"chance\"");
  }
  claim.times = reader.get<double>("times", 1);
  reader.finish();
  return claim;
}

PaperTable parse_paper(const Json& json) {
  ObjectReader reader(json, "paper");
  PaperTable table{.title = reader.get<std::string>("title", ""),
                   .columns = strings_at(reader, "columns")};
  for (const Json& row : list_at(reader, "rows")) {
    if (!row.is_array() || row.size() != table.columns.size() || !row[0].is_string())
      throw_wrong_type(reader.where("rows"), row, "a name and a cell for each other column");
    std::vector<std::string> cells;
    for (std::size_t i = 1; i < row.size(); ++i)
      cells.push_back(row[i].is_string() ? row[i].get<std::string>() : row[i].dump());
    table.rows.emplace_back(row[0].get<std::string>(), std::move(cells));
  }
  reader.finish();
  return table;
}

// A run goes on only with the data that it began with.
void check_start(const Experiment& experiment, const Condition& condition,
                 const std::set<std::string>& before) {
  if (condition.starts_from.empty()) return;
  const std::string what =
      "experiment: " + condition.name + " starts from \"" + condition.starts_from + "\", which ";
  if (!before.contains(condition.starts_from)) throw UsageError(what + "is no condition before it");
  for (const Condition& other : experiment.conditions)
    if (other.name == condition.starts_from &&
        (other.hide != condition.hide || other.complete != condition.complete ||
         other.as_missing != condition.as_missing))
      throw UsageError(what + "hides other annotations; give both the same \"hide\"");
}

// Names are keys of files and of claims.
void check_names(const Experiment& experiment) {
  std::set<std::string> names;
  const auto known = [&](const std::string& name) { return names.contains(name); };
  const auto list = [&] { return std::vector<std::string>(names.begin(), names.end()); };
  for (const Condition& condition : experiment.conditions) {
    check_start(experiment, condition, names);
    if (!names.insert(condition.name).second)
      throw UsageError("experiment: two conditions are named " + condition.name);
  }
  for (const Timing& timing : experiment.timings)
    if (!names.insert(timing.name).second)
      throw UsageError("experiment: two rows are named " + timing.name);
  for (const Claim& claim : experiment.claims) {
    if (claim.kind == Claim::kChance) continue;
    for (const std::string& name : {claim.first, claim.second})
      if (!known(name))
        throw UsageError("experiment: a claim speaks of \"" + name + "\", which is no row; " +
                         nearest_or_known(name, list()));
  }
}

}  // namespace

std::string PaperTable::last_of(const std::string& row) const {
  for (const auto& [name, cells] : rows)
    if (name == row && !cells.empty()) return cells.back();
  return "";
}

Experiment parse_experiment(const Json& json) {
  ObjectReader reader(json, "");
  Experiment experiment{.title = reader.get<std::string>("title", ""),
                        .about = strings_at(reader, "about"),
                        .phantoms = parse_phantoms(reader.at("phantoms"))};
  for (const Json& seed : list_at(reader, "seeds")) {
    if (!seed.is_number_unsigned() && !(seed.is_number_integer() && seed.get<std::int64_t>() >= 0))
      throw_wrong_type(reader.where("seeds"), seed, "whole numbers, 0 or more");
    experiment.seeds.push_back(seed.get<std::uint64_t>());
  }
  const Json& train = reader.at("train");
  const Json segment = reader.has("segment") ? reader.at("segment") : Json::object();
  const Json& conditions = list_at(reader, "conditions");
  for (std::size_t i = 0; i < conditions.size(); ++i)
    experiment.conditions.push_back(
        parse_condition(conditions[i], "conditions." + std::to_string(i), train, segment));
  if (!experiment.conditions.empty() && experiment.seeds.empty())
    throw_wrong_type("seeds", reader.at("seeds"), "a list of seeds such as [0, 1, 2]");
  parse_timings(reader.at("timings"), experiment);
  experiment.control = parse_control(reader.at("control"));
  for (const Json& claim : list_at(reader, "claims"))
    experiment.claims.push_back(parse_claim(claim));
  for (const Json& table : list_at(reader, "paper")) experiment.paper.push_back(parse_paper(table));
  reader.finish();
  check_names(experiment);
  return experiment;
}

}  // namespace lamp
