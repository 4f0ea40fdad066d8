// lamp evaluate: Dice, IoU, surface metrics and volumes of predictions against references.
#include <filesystem>
#include <iostream>
#include <memory>

#include "lamp/cli/commands.h"
#include "lamp/cli/dataset_options.h"
#include "lamp/cli/orientation_option.h"
#include "lamp/cli/output_options.h"
#include "lamp/evaluation/evaluation.h"
#include "lamp/evaluation/summary.h"

namespace lamp {

void add_evaluate_command(CLI::App& app, const GlobalOptions& globals) {
  auto* command = app.add_subcommand("evaluate", "compares label maps with references");
  auto options = std::make_shared<EvaluationOptions>();
  auto output = std::make_shared<std::filesystem::path>();
  command->add_option("-p,--prediction", options->prediction, "folder of label maps, or one file")
      ->required();
  command->add_option("-r,--reference", options->reference, "folder of references, or one file")
      ->required();
  command->add_option("-d,--dataset", options->dataset,
                      "dataset.json with the labels' names and what was annotated");
  command
      ->add_option("-o,--output", *output,
                   "summary.json to write, or a folder for it (default: in PRED, or beside it if "
                   "it is a file)")
      ->check(names_an_output());
  auto preview = std::make_shared<bool>(false);
  command->add_flag("--preview", *preview, "also a picture of each case, <case>.png");
  add_outside_option(*command);
  add_orientation_option(*command, options->nifti_form);
  command->callback([options, output, preview, &globals] {
    const std::filesystem::path summary = summary_path(*output, options->prediction);
    if (*preview) options->preview = summary.parent_path();
    const EvaluationResult result = evaluate_into(summary, *options);
    if (globals.json) {
      print_json(summary_json(result));
    } else if (!result.cases.empty()) {
      std::cout << dice_table(result) << std::flush;
    }
    throw_if_failed(result);
  });
}

}  // namespace lamp
