// `lamp experiment`: the paper's tables, resumable.
#include <iostream>
#include <memory>

#include "lamp/base/files.h"
#include "lamp/cli/commands.h"
#include "lamp/cli/dataset_options.h"
#include "lamp/cli/output_options.h"
#include "lamp/experiment/experiment.h"
#include "lamp/training/train_config.h"

namespace lamp {

void add_experiment_command(CLI::App& app, const GlobalOptions& globals) {
  CLI::App* command = app.add_subcommand(
      "experiment",
      "the paper's tables, on phantoms or on real data; goes on where it was stopped");
  auto request = std::make_shared<ExperimentRequest>();
  command
      ->add_option("--preset", request->preset,
                   "context (Dice by input size), size (Dice by width), speed (seconds by input "
                   "size), missing (annotations), or a JSON file")
      ->required();
  command
      ->add_option("--scale", request->scale, "small: phantoms on a CPU; full: the paper's sizes")
      ->capture_default_str();
  command->add_option("-o,--output", request->folder, "folder for results and all in between")
      ->required()
      ->check(names_an_output());
  command->add_option("-d,--dataset", request->dataset,
                      "real data instead of phantoms: folder with dataset.json and labelsTs");
  command->add_option("--device", request->device, "auto, cpu, cuda:0, or several")
      ->capture_default_str();
  command
      ->add_option("--set", request->settings,
                   "key=value in the experiment, such as train.optimizer.lr=1e-4")
      ->allow_extra_args(false);
  add_outside_option(*command);
  command->callback([request, &globals] {
    check_settings(request->settings);
    const Json results = run_experiment(*request);
    if (globals.json) {
      print_json(results);
    } else {
      std::cout << read_file(request->folder / "results.md") << std::flush;
    }
  });
}

}  // namespace lamp
