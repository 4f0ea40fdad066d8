// lamp synth: writes a generated data set.
#include <memory>
#include <string>

#include "lamp/cli/commands.h"
#include "lamp/cli/output_options.h"
#include "lamp/dataset/datalist.h"
#include "lamp/phantoms/phantom.h"

namespace lamp {

void add_synth_command(CLI::App& app, const GlobalOptions& globals) {
  auto* command = app.add_subcommand("synth", "writes a data set of generated CT volumes");
  auto options = std::make_shared<PhantomOptions>();
  auto folder = std::make_shared<std::string>();
  auto size = std::make_shared<std::string>();
  command->add_option("--kind", options->kind, "han, liver or twins")->required();
  command->add_option("-o,--output", *folder, "folder to write, new or empty")
      ->required()
      ->check(names_an_output());
  command->add_option("--train", options->train, "number of training cases");
  command->add_option("--test", options->test, "number of test cases");
  command->add_option("--size", *size, "voxels X,Y,Z; cases are up to 8 voxels smaller");
  command->add_option("--missing", options->missing,
                      "probability that an organ of a training case is not annotated");
  command->add_option("--thin-organs", options->thin_organs,
                      "han: chiasm and optic nerves this many times as thick as in people, 1 to 3");
  command->callback([options, folder, size, &globals] {
    options->folder = *folder;
    if (!size->empty()) options->size = parse_phantom_size(*size);
    options->seed = globals.seed_or_zero();
    write_phantoms(*options);
    Json labels = Json::object();
    for (const auto& [id, name] : phantom_labels(options->kind)) labels[std::to_string(id)] = name;
    if (globals.json)
      print_json({{"folder", *folder},
                  {"training", options->train},
                  {"test", options->test},
                  {"labels", labels}});
  });
}

}  // namespace lamp
