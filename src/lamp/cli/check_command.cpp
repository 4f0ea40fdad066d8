// lamp check: every fault of a data set or of images in one pass.
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <vector>

#include "lamp/base/errors.h"
#include "lamp/cli/commands.h"
#include "lamp/cli/dataset_options.h"
#include "lamp/cli/orientation_option.h"
#include "lamp/data/dataset_check.h"

namespace lamp {
namespace {

// One report over everything that was named on the command line.
CheckReport check_all(const std::vector<std::string>& paths, const ReadOptions& read) {
  std::vector<std::filesystem::path> images;
  std::vector<std::filesystem::path> datasets;
  for (const std::string& path : paths) {
    if (path.empty())
      throw UsageError("check: found an empty name, expected a data set, an image or a folder");
    (looks_like_dataset(path) ? datasets : images).emplace_back(path);
  }
  if (datasets.empty()) return check_images(images, read);
  if (datasets.size() == 1 && images.empty())
    return check_dataset(datasets.front(), {.read = read});
  throw UsageError("check: found " + std::to_string(datasets.size()) + " data sets and " +
                   std::to_string(images.size()) +
                   " images, expected one data set or images only; run it on each");
}

}  // namespace

void add_check_command(CLI::App& app, const GlobalOptions& globals) {
  auto* command =
      app.add_subcommand("check", "finds every fault of a data set or of images in one pass");
  auto paths = std::make_shared<std::vector<std::string>>();
  command->add_option("paths", *paths, "a data set (folder or JSON), or images and DICOM folders")
      ->required();
  add_outside_option(*command);
  auto form = std::make_shared<std::optional<NiftiForm>>();
  add_orientation_option(*command, *form);
  auto series = std::make_shared<std::string>();
  command->add_option("--series", *series,
                      "which of several DICOM series in a folder: its number or its UID");
  command->callback([paths, form, series, &globals] {
    const ReadOptions read{.nifti_form = form->value_or(NiftiForm::kRefuse),
                           .dicom_series = *series};
    const CheckReport report = check_all(*paths, read);
    if (globals.json) {
      print_json(to_json(report));
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
