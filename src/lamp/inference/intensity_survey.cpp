// Cases are read once more than the other checks do; what is kept of each are its counted values.
#include "lamp/inference/intensity_survey.h"

#include <torch/types.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <set>

#include "lamp/base/each_case.h"
#include "lamp/base/errors.h"
#include "lamp/base/log.h"
#include "lamp/cases/intensity_check.h"
#include "lamp/dataset/case_volumes.h"
#include "lamp/dataset/dataset_check.h"
#include "lamp/inference/input_list.h"

namespace lamp {
namespace {

struct CountJob {
  std::string name;
  std::function<Intensities()> count;
  bool for_model = false;  // read as `lamp segment` reads it
};
struct Counted {
  Intensities values;
  std::optional<Fault> refused;
};

Intensities count_case(const Case& entry, const Dataset& dataset, const DataConfig& data) {
  const PreparedImage image = place_image(read_case_image(entry, data.read_options()), data);
  torch::Tensor label;
  if (!entry.label.empty())
    label = prepare_label(read_case_label(entry, dataset, data.read_options()), image.path);
  return count_intensities(image.voxels, label);
}

Intensities count_input(const InputCase& input, const IntensityStandard& standard) {
  ReadOptions options = standard.data.read_options();
  options.dicom_series = standard.dicom_series;
  const Volume volume = standard.channels > 0 ? read_case(input, standard.channels, options)
                                              : read_image(input.first(), options);
  return count_intensities(place_image(volume, standard.data).voxels, {});
}

std::vector<CountJob> jobs_of(const std::vector<std::string>& paths,
                              const IntensityStandard& standard) {
  std::vector<CountJob> jobs;
  if (paths.size() == 1 && looks_like_dataset(paths.front())) {
    std::vector<Fault> faults;
    const auto dataset = std::make_shared<const Dataset>(read_dataset(paths.front(), &faults));
    for (const auto* list : {&dataset->training, &dataset->validation, &dataset->test})
      for (const Case& entry : *list)
        jobs.push_back({entry.name, [dataset, &entry, &standard] {
                          return count_case(entry, *dataset, standard.data);
                        }});
    return jobs;
  }
  for (const InputCase& input : expand_inputs(paths, std::max<std::int64_t>(standard.channels, 1),
                                              nullptr, standard.dicom_series))
    jobs.push_back({input.name, [input, &standard] { return count_input(input, standard); },
                    standard.channels > 0});
  return jobs;
}

std::vector<Counted> count_all(const std::vector<CountJob>& jobs) {
  std::vector<Counted> found(jobs.size());
  const auto count = [&](std::size_t i) {
    try {
      found[i].values = jobs[i].count();
    } catch (const std::exception& error) {
      const auto* refused = dynamic_cast<const InputError*>(&error);
      if (refused && jobs[i].for_model) found[i].refused = refused->fault();
      log_debug(jobs[i].name + ": its values were not compared: " + error.what());
    }
    return jobs[i].name;
  };
  for_each_case({.title = "comparing values", .cases = jobs.size(), .earlier_signal = 0}, count);
  return found;
}

}  // namespace

IntensitySurvey survey_intensities(const std::vector<std::string>& paths,
                                   const IntensityStandard& standard) {
  IntensitySurvey survey;
  std::vector<CountJob> jobs;
  try {
    jobs = jobs_of(paths, standard);
  } catch (const Error& unreadable) {  // the other checks' business
    log_debug(unreadable.what());
    return survey;
  }
  std::vector<Intensities> read;
  std::vector<std::string> cases;
  const std::vector<Counted> found = count_all(jobs);
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (found[i].refused) survey.faults.push_back(*found[i].refused);
    if (found[i].values.empty()) continue;
    read.push_back(found[i].values);
    const IntensityFindings findings =
        compare_intensities(found[i].values, standard.trained, standard.data.window);
    if (!findings.numbers.is_null()) survey.numbers[jobs[i].name] = findings.numbers;
    for (const std::string& warning : findings.warnings)
      cases.push_back(jobs[i].name + ": values unlike those of training: " + warning);
  }
  for (const std::string& warning : window_warnings(read, standard.data.window))
    survey.warnings.push_back("data.window: " + warning +
                              "; are these the units that the window is meant for?");
  survey.warnings.insert(survey.warnings.end(), cases.begin(), cases.end());
  return survey;
}

IntensityStandard standard_of(const SegmentModel& model) {
  return {.data = preprocessing_of(model),
          .trained = model.model.intensities,
          .channels = model.model.network.config.in_channels,
          .model = model.file};
}

IntensitySurvey survey_beside(CheckReport& report, const std::vector<std::string>& paths,
                              const IntensityStandard& standard) {
  if (!standard.model.empty() && standard.trained.is_null())
    report.notes.insert(report.notes.begin(),
                        standard.model + " does not say which values it was trained on");
  IntensitySurvey survey = survey_intensities(paths, standard);
  for (std::string& warning : survey.warnings) warning = "warning: " + warning;
  report.notes.insert(report.notes.begin(), survey.warnings.begin(), survey.warnings.end());
  std::set<std::string> named;
  for (const Fault& fault : report.faults) named.insert(fault.file);
  for (const Fault& fault : survey.faults)
    if (!named.contains(fault.file)) report.faults.push_back(fault);
  return survey;
}

}  // namespace lamp
