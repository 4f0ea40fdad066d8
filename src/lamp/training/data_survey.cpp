// Results are put together in the order of the cases, whatever the threads do.
#include "lamp/training/data_survey.h"

#include <algorithm>
#include <string>
#include <utility>

#include "lamp/base/each_case.h"
#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/log.h"
#include "lamp/base/text.h"
#include "lamp/cases/case_outliers.h"
#include "lamp/cases/intensity_check.h"

namespace lamp {
namespace {

struct CaseSurvey {
  Intensities intensities;
  std::vector<std::int64_t> voxel_counts;
  std::vector<int> annotated;
};

// The packed counts are without the edges, which tell a body in air from one that was cut out.
void count_edges(const TrainingCase& sample, const Window& window, Intensities& intensities) {
  const auto before_window = [&](const torch::Tensor& stored) {
    const torch::Tensor values = decode_image(stored, sample.code);
    return window ? values * ((*window)[1] - (*window)[0]) + (*window)[0] : values;
  };
  for (std::size_t c = 0; c < intensities.size(); ++c)
    intensities[c].edge = count_edge(sample.stored[static_cast<std::int64_t>(c)], before_window);
}

CaseSurvey look_at(CaseStore& store, std::size_t index, const Window& window) {
  CaseSurvey survey;
  const auto sample = store.get(index);
  survey.intensities = unpack_intensities(sample->intensities);
  count_edges(*sample, window, survey.intensities);
  survey.voxel_counts = sample->voxel_counts;
  survey.annotated = sample->annotated;
  return survey;
}

std::vector<CaseSurvey> look_at_all(CaseStore& store, const std::vector<std::size_t>& cases,
                                    const TrainConfig& config) {
  std::vector<CaseSurvey> surveys(cases.size());
  for_each_case({.title = "reading cases",
                 .cases = cases.size(),
                 .own_threads = std::max(config.loader.threads, 1),
                 .when_interrupted = "nothing was trained yet"},
                [&](std::size_t i) {
                  surveys[i] = look_at(store, cases[i], config.data.window);
                  return std::string();
                });
  return surveys;
}

// Labels that cannot be learned from these cases.
std::vector<std::string> label_warnings(const std::vector<CaseSurvey>& surveys,
                                        const std::map<int, std::string>& labels) {
  std::vector<std::string> warnings;
  std::int64_t foreground = 0;
  for (const auto& [id, name] : labels) {
    if (id == 0) continue;
    std::int64_t annotated = 0, voxels = 0;
    for (const CaseSurvey& survey : surveys) {
      const auto& ids = survey.annotated;
      annotated += ids.empty() || std::find(ids.begin(), ids.end(), id) != ids.end();
      voxels += survey.voxel_counts.at(static_cast<std::size_t>(id));
    }
    foreground += voxels;
    if (voxels > 0) continue;
    const std::string label = "label " + std::to_string(id) + " \"" + name + "\" ";
    warnings.push_back(annotated == 0
                           ? label + "is annotated in no training case"
                           : label + "is in none of the " + counted(annotated, "training case") +
                                 " that it is annotated in");
  }
  if (foreground == 0)
    return {"no training case holds any foreground: the network can only learn to find nothing"};
  return warnings;
}

// Held-out cases are compared with those of the training, and not the reverse: nothing learns from
// them, but the best network is chosen by them.
std::vector<std::string> unlike_cases(const CaseStore& store, const CaseSplit& split,
                                      const std::vector<CaseSurvey>& surveys,
                                      const std::vector<CaseSurvey>& held_out) {
  std::vector<OutlierCase> cases;
  for (std::size_t i = 0; i < surveys.size(); ++i)
    cases.push_back({store.dataset().training[split.training[i]].name, surveys[i].intensities});
  for (std::size_t i = 0; i < held_out.size(); ++i)
    cases.push_back({store.dataset().training[split.validation[i]].name + " (held out)",
                     held_out[i].intensities, /*training=*/false});
  return outlier_warnings(cases);
}

// What the result depends on.
Json case_list(const CaseStore& store, const std::vector<std::size_t>& cases) {
  Json list = Json::array();
  for (const std::size_t index : cases) {
    const Case& entry = store.dataset().training[index];
    Json row = {{"name", entry.name}, {"label", entry.label.string()}};
    if (entry.annotated) row["annotated"] = *entry.annotated;
    list.push_back(std::move(row));
  }
  return list;
}

Json known_survey(const std::filesystem::path& file, const Json& data, const Json& cases,
                  const Json& held_out) {
  std::error_code error;
  if (!std::filesystem::exists(file, error)) return {};
  try {
    Json known = read_json(file);
    if (known.at("data") == data && known.at("cases") == cases &&
        known.at("held_out") == held_out && known.at("warnings").is_array() &&
        known.contains("intensities"))
      return known;
  } catch (const std::exception&) {
    log_debug(file.string() + " cannot be used: the cases are read again");
  }
  return {};
}

}  // namespace

OwnTest own_survey() {
  return [](const std::filesystem::path& file) {
    try {
      const Json found = read_json(file);
      return found.is_object() && found.contains("data") && found.contains("cases") &&
             found.contains("warnings") && found.contains("intensities");
    } catch (const InputError&) {
      return false;
    }
  };
}

Json survey_training_data(const std::filesystem::path& run, CaseStore& store,
                          const CaseSplit& split, const TrainConfig& config) {
  const std::filesystem::path file = run / kSurveyFile;
  const Json data = to_json(config.data), list = case_list(store, split.training),
             held_out_list = case_list(store, split.validation);
  Json survey = known_survey(file, data, list, held_out_list);
  if (survey.is_null()) {
    const std::vector<CaseSurvey> surveys = look_at_all(store, split.training, config);
    const std::vector<CaseSurvey> held_out = look_at_all(store, split.validation, config);
    std::vector<Intensities> intensities;
    for (const CaseSurvey& found : surveys) intensities.push_back(found.intensities);
    std::vector<std::string> warnings = label_warnings(surveys, store.dataset().labels);
    for (const std::string& warning : window_warnings(intensities, config.data.window))
      warnings.push_back("data.window: " + warning +
                         "; are these the units that the window is meant for?");
    for (std::string& warning : unlike_cases(store, split, surveys, held_out))
      warnings.push_back(std::move(warning));
    survey = {{"data", data},
              {"cases", list},
              {"held_out", held_out_list},
              {"warnings", warnings},
              {"intensities", describe_intensities(intensities, config.data.window)}};
    write_file(file, dump_json(survey) + "\n");
  }
  for (const Json& warning : survey["warnings"])
    if (warning.is_string()) log_warning(warning.get<std::string>());
  return survey["intensities"];
}

}  // namespace lamp
