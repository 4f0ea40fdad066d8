// lamp check: every fault of a data set or of images in one pass.
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lamp/base/errors.h"
#include "lamp/cases/case_outliers.h"
#include "lamp/cli/commands.h"
#include "lamp/cli/dataset_options.h"
#include "lamp/cli/orientation_option.h"
#include "lamp/cli/output_options.h"
#include "lamp/dataset/check_paths.h"
#include "lamp/dataset/check_report.h"
#include "lamp/inference/intensity_survey.h"
#include "lamp/inference/scorer.h"
#include "lamp/nets/model_file.h"
#include "lamp/training/train_config.h"

namespace lamp {
namespace {

struct CheckLine {
  std::vector<std::string> paths;
  std::string model, config, preview;
  ReadOptions read;
};

// What the values are held against.
IntensityStandard wished_standard(const CheckLine& options) {
  IntensityStandard standard;
  if (!options.model.empty())
    standard = standard_of(SegmentModel{options.model, load_model(options.model)});
  else
    standard.data = parse_train_config(read_config(options.config, {})).data;
  if (options.read.nifti_form != NiftiForm::kRefuse)
    standard.data.nifti_form = options.read.nifti_form;
  standard.dicom_series = options.read.dicom_series;
  return standard;
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
  command->add_option(
      "--series", options->read.dicom_series,
      "which of several DICOM series in a folder: UID, place in the list or SeriesNumber");
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
    std::optional<IntensityStandard> standard;  // before any work, and before pictures are written
    if (!options->model.empty() || !options->config.empty()) standard = wished_standard(*options);
    CaseComparison comparison;
    CheckReport report =
        check_paths(options->paths, options->read, options->preview, comparison.observer());
    comparison.note(report);
    IntensitySurvey survey;
    if (standard) survey = survey_beside(report, options->paths, *standard);
    if (globals.json) {
      Json json = to_json(report);
      if (!survey.numbers.empty()) json["intensities"] = survey.numbers;
      print_json(json);
    } else {
      std::cout << describe(report) << std::flush;
    }
    throw_if_faulty(report);
  });
}

}  // namespace lamp
