// `lamp train`: options, one call, one line about the result.
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lamp/base/log.h"
#include "lamp/base/text.h"
#include "lamp/cli/commands.h"
#include "lamp/cli/dataset_options.h"
#include "lamp/cli/network_options.h"
#include "lamp/cli/output_options.h"
#include "lamp/training/train_config.h"
#include "lamp/training/trainer.h"

namespace lamp {
namespace {

struct TrainLine {
  std::string dataset;
  std::string config;
  std::string run;
  ExecutionOptions execution;
  std::vector<std::string> settings;
  std::optional<int> fold;
  std::string plan;
  bool resume = false;
};

void run_train(const TrainLine& options, const GlobalOptions& globals) {
  check_settings(options.settings);
  TrainRequest request{.dataset = options.dataset,
                       .settings = options.settings,
                       .run = options.run,
                       .plan = options.plan,
                       .resume = options.resume,
                       .threads = globals.threads};
  const Json execution = to_json(options.execution);
  for (const auto& [key, value] : execution.items())
    request.settings.push_back("execution." + key + "=" + value.dump());
  if (globals.seed) request.settings.push_back("seed=" + std::to_string(*globals.seed));
  if (options.fold) request.settings.push_back("validation.fold=" + std::to_string(*options.fold));
  if (!options.config.empty()) request.config = read_config(options.config, {});
  const TrainSummary summary = train(request);
  if (globals.json) {
    print_json({{"run", options.run},
                {"epochs", summary.epochs},
                {"loss", summary.loss},
                {"best_dice", summary.best_dice < 0 ? Json() : Json(summary.best_dice)},
                {"model", summary.best.string()}});
  } else {
    log_info("trained for " + counted(summary.epochs, "epoch") + "; best validation Dice " +
             (summary.best_dice < 0 ? std::string("not measured") : fixed(summary.best_dice, 4)) +
             "; model " + summary.best.string());
  }
}

}  // namespace

void add_train_command(CLI::App& app, const GlobalOptions& globals) {
  CLI::App* command = app.add_subcommand(
      "train", "train a network on a data set, from small patches to whole volumes");
  auto options = std::make_shared<TrainLine>();
  command->add_option("-d,--dataset", options->dataset,
                      "folder with dataset.json, or the file itself");
  command->add_option("-c,--config", options->config, "JSON file or preset: han, liver, demo");
  command->add_option("-o,--output", options->run, "run folder")
      ->required()
      ->check(names_an_output());
  command
      ->add_option("--set", options->settings,
                   "key=value, such as optimizer.lr=1e-4; may be repeated")
      ->allow_extra_args(false);
  command->add_option(
      "--fold", options->fold,
      "hold out this fold: of the data set, of splits_final.json, or of nnU-Net's five");
  command->add_option("--device", options->execution.device,
                      "auto, cpu, cuda:0, or several as pipeline stages: cpu,cpu");
  add_options(*command, options->execution);
  command->add_option("--plan", options->plan, "run exactly what lamp plan -o wrote here")
      ->check(CLI::ExistingFile);
  command->add_flag("--resume", options->resume, "go on with the run in the run folder");
  add_outside_option(*command);
  command->callback([options, &globals] { run_train(*options, globals); });
}

}  // namespace lamp
