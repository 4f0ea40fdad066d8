// `lamp info`: what a model is, read from its file or its run folder; or how large a network would
// be.
#include <iostream>
#include <memory>
#include <string>

#include "lamp/base/errors.h"
#include "lamp/base/text.h"
#include "lamp/cli/commands.h"
#include "lamp/cli/network_options.h"
#include "lamp/nets/model_info.h"

namespace lamp {
namespace {

struct InfoLine {
  std::string model;
  NetOptions net;
};

Json info_of(const InfoLine& options) {
  Json net = to_json(options.net);
  if (options.model.empty() != net.empty()) {
    if (net.empty()) return describe_model(options.model);
    net.emplace("name", "unet");  // unless it is given
    return describe_network(parse_net_config(net));
  }
  throw UsageError(
      "info: give either a model (a file or a run folder) or --net with its sizes, such as "
      "--net unet --width 64");
}

std::string size_text(const Json& patch) {
  if (!patch.is_array()) return patch.is_string() ? patch.get<std::string>() : patch.dump();
  std::vector<std::string> lengths;
  for (const Json& length : patch) lengths.push_back(length.dump());
  return joined(lengths, " x ");
}

void print_curriculum(const Json& curriculum) {
  int number = 0;
  for (const Json& stage : curriculum) {
    std::cout << "stage " << ++number << ":";
    for (const auto& [key, value] : stage.items())
      std::cout << "  " << key << " " << (key == "patch" ? size_text(value) : value.dump());
    std::cout << "\n";
  }
}

void print_members(const Json& config) {
  for (const auto& [key, value] : config.items()) {
    if (key == "net" || key == "labels" || key == "intensities") continue;  // --json shows all
    if (key == "curriculum" && value.is_array())
      print_curriculum(value);
    else
      std::cout << key << ": " << dump_json(value, -1) << "\n";
  }
}

void print_model(const Json& info) {
  const Json& net = info["net"];
  const auto parameters = info["parameters"].get<std::int64_t>();
  std::cout << "network: " << net["name"].get<std::string>() << ", width " << net["width"]
            << ", depth " << net["depth"] << ", "
            << counted(net["in_channels"].get<std::int64_t>(), "channel") << " in, "
            << counted(net["classes"].get<std::int64_t>(), "class") << "\n"
            << "parameters: " << parameters << " (" << bytes_text(4 * parameters)
            << " in float32)\n";
  if (!info.contains("labels")) return;
  std::cout << "labels:";
  for (const auto& [id, name] : info["labels"].items())
    std::cout << "  " << id << " " << name.get<std::string>();
  std::cout << "\nfile: " << info["file"].get<std::string>() << "\n";
  print_members(info["config"]);
  if (info.contains("provenance"))
    std::cout << "provenance: " << dump_json(info["provenance"], -1) << "\n";
}

void run_info(const InfoLine& options, const GlobalOptions& globals) {
  const Json info = info_of(options);
  if (globals.json) {
    print_json(info);
  } else {
    print_model(info);
    std::cout.flush();
  }
}

}  // namespace

void add_info_command(CLI::App& app, const GlobalOptions& globals) {
  CLI::App* command =
      app.add_subcommand("info", "what a model is: network, labels, parameters, configuration");
  auto options = std::make_shared<InfoLine>();
  command->add_option("model", options->model, "model file or run folder");
  command->add_option("--net", options->net.name,
                      "count a network's parameters instead: unet, seunet, anatomynet");
  command->add_option("--width", options->net.width, "filters of its first convolution");
  command->add_option("--depth", options->net.depth, "its encoder blocks");
  command->add_option("--in-channels", options->net.channels, "channels of its input");
  command->add_option("--classes", options->net.classes, "its classes, with the background");
  command->callback([options, &globals] { run_info(*options, globals); });
}

}  // namespace lamp
