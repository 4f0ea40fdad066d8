// lamp prepare: the paper's real data sets in the layout of the Decathlon.
#include <iostream>
#include <memory>
#include <string>

#include "lamp/base/text.h"
#include "lamp/cli/commands.h"
#include "lamp/cli/dataset_options.h"
#include "lamp/cli/orientation_option.h"
#include "lamp/cli/output_options.h"
#include "lamp/convert/prepare.h"
#include "lamp/convert/prepare_report.h"

namespace lamp {

void add_prepare_command(CLI::App& app, const GlobalOptions& globals) {
  auto* command = app.add_subcommand(
      "prepare", "converts a real data set's layout to the one that the other commands read");
  auto options = std::make_shared<PrepareOptions>();
  auto spacing = std::make_shared<std::string>();
  command
      ->add_option("--from", options->from,
                   "han-npy (AnatomyNet's arrays), pddca (img.nrrd and structures/) or decathlon "
                   "(such as Task03_Liver)")
      ->required();
  command->add_option("source", options->source, "the data set's folder")->required();
  command->add_option("-o,--output", options->folder, "folder to write: new, empty or begun before")
      ->required()
      ->check(names_an_output());
  command->add_option("--spacing", *spacing, "han-npy: mm between voxels, X,Y,Z (default: 1,1,1)");
  command->add_option("--test", options->test,
                      "number of test cases, drawn by --seed among the fully annotated ones");
  command->add_option("--test-cases", options->test_cases, "names of the test cases: a,b,c")
      ->delimiter(',')
      ->allow_extra_args(false);  // or the source behind it would be taken for a name
  add_outside_option(*command);
  add_orientation_option(*command, options->nifti_form);
  command->callback([options, spacing, &globals] {
    if (!spacing->empty()) options->spacing_mm = parse_spacing(*spacing);
    options->seed = globals.seed_or_zero();
    const PrepareReport report = prepare_dataset(*options);
    const Json json = to_json(report);
    if (globals.json) {
      print_json(json);
    } else {
      std::cout << report.folder.string() << ": " << json["training"] << " training and "
                << counted(json["test"].get<std::int64_t>(), "test case") << ", "
                << report.converted << " converted now" << std::endl;
    }
    throw_if_failed(report);
  });
}

}  // namespace lamp
