// lamp check: every fault of a data set or of images in one pass.
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lamp/base/errors.h"
#include "lamp/cli/commands.h"
#include "lamp/cli/dataset_options.h"
#include "lamp/cli/orientation_option.h"
#include "lamp/cli/output_options.h"
#include "lamp/dataset/check_report.h"
#include "lamp/dataset/dataset_check.h"
#include "lamp/inference/intensity_survey.h"
#include "lamp/inference/scorer.h"
#include "lamp/nets/model_file.h"
#include "lamp/training/train_config.h"

namespace lamp {
namespace {

// One report over everything that was named on the command line.
CheckReport check_all(const std::vector<std::string>& paths, const ReadOptions& read,
                      const std::filesystem::path& preview) {
  std::vector<std::filesystem::path> images;
  std::vector<std::filesystem::path> datasets;
  for (const std::string& path : paths) {
    if (path.empty())
      throw UsageError("check: found an empty name, expected a data set, an image or a folder");
    (looks_like_dataset(path) ? datasets : images).emplace_back(path);
  }
  if (datasets.empty()) return check_images(images, read, preview);
  if (!read.dicom_series.empty())
    throw UsageError("check: --series goes with DICOM folders, found the data set " +
                     datasets.front().string());
  if (datasets.size() == 1 && images.empty())
    return check_dataset(datasets.front(), {.read = read, .preview = preview});
  throw UsageError("check: found " + std::to_string(datasets.size()) + " data sets and " +
                   std::to_string(images.size()) +
                   " images, expected one data set or images only; run it on each");
}

struct CheckLine {
  std::vector<std::string> paths;
  std::string model, config, preview;
  ReadOptions read;
};

// Values beside a model's or a configuration's; what is found stands first among the notes.
IntensitySurvey compare_values(const CheckLine& options, CheckReport& report) {
  IntensityStandard standard;
  if (!options.model.empty()) {
    const Model model = load_model(options.model);
    standard = {.data = preprocessing_of({options.model, model}),
                .trained = model.intensities,
                .channels = model.network.config.in_channels};
    if (model.intensities.is_null())
      report.notes.insert(report.notes.begin(),
                          options.model + " does not say which values it was trained on");
  } else {
    standard.data = parse_train_config(read_config(options.config, {})).data;
  }
  if (options.read.nifti_form != NiftiForm::kRefuse)
    standard.data.nifti_form = options.read.nifti_form;
  standard.dicom_series = options.read.dicom_series;
  IntensitySurvey survey = survey_intensities(options.paths, standard);
  for (std::string& warning : survey.warnings) warning = "warning: " + warning;
  report.notes.insert(report.notes.begin(), survey.warnings.begin(), survey.warnings.end());
  return survey;
}

}  // namespace

void add_check_command(CLI::App& app, const GlobalOptions& globals) {
  auto* command =
      app.add_subcommand("check", "finds every fault of a data set or of images in one pass");
  auto options = std::make_shared<CheckLine>();
  command
      ->add_option("paths", options->paths,
                   "a data set (folder or JSON), or images and DICOM folders")
      ->required();
  add_outside_option(*command);
  auto form = std::make_shared<std::optional<NiftiForm>>();
  add_orientation_option(*command, *form);
  command->add_option("--series", options->read.dicom_series,
                      "which of several DICOM series in a folder: its number or its UID");
  command->add_option("-m,--model", options->model,
                      "also compare the values with those that this model was trained on");
  command->add_option("-c,--config", options->config,
                      "also compare the values with this configuration's window (file or preset)");
  command
      ->add_option("--preview", options->preview,
                   "also a picture of each case, <case>.png, in this folder: new, empty or of such "
                   "pictures")
      ->check(names_an_output());
  command->callback([options, form, &globals] {
    if (!options->model.empty() && !options->config.empty())
      throw UsageError("check: found both -m and -c, expected one of them");
    options->read.nifti_form = form->value_or(NiftiForm::kRefuse);
    CheckReport report = check_all(options->paths, options->read, options->preview);
    IntensitySurvey survey;
    if (!options->model.empty() || !options->config.empty())
      survey = compare_values(*options, report);
    if (globals.json) {
      Json json = to_json(report);
      if (!survey.numbers.empty()) json["intensities"] = survey.numbers;
      print_json(json);
    } else {
      std::cout << describe(report) << std::flush;
    }
    if (report.ok()) return;
    const DatasetFault& first = report.faults.front();
    const auto others = report.faults.size() - 1;
    throw Error(std::string(to_error(first).what()) +
                    (others > 0 ? " (and " + std::to_string(others) + " more " +
                                      (others == 1 ? "fault)" : "faults)")
                                : ""),
                kExitInput);
  });
}

}  // namespace lamp
