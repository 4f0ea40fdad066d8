// `lamp info`: what a model is, read from its file or its run folder; or how large a network would
// be.
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <string>

#include "lamp/base/errors.h"
#include "lamp/base/text.h"
#include "lamp/cli/commands.h"
#include "lamp/nets/model_file.h"
#include "lamp/nets/net_factory.h"

namespace lamp {
namespace {

struct InfoLine {
  std::string model;
  std::string net;
  std::optional<std::int64_t> width, depth, in_channels, classes;

  bool describes_a_net() const { return !net.empty() || width || depth || in_channels || classes; }
};

Json net_json(const InfoLine& options) {
  Json net = {{"name", options.net.empty() ? "unet" : options.net}};
  if (options.width) net["width"] = *options.width;
  if (options.depth) net["depth"] = *options.depth;
  if (options.in_channels) net["in_channels"] = *options.in_channels;
  if (options.classes) net["classes"] = *options.classes;
  return net;
}

Json describe_net(const InfoLine& options) {
  const Network network = make_network(parse_net_config(net_json(options)));
  return {{"net", to_json(network.config)}, {"parameters", parameter_count(network)}};
}

// A run folder's configuration says more than its model's: the curriculum, the loss, the optimizer.
Json describe_model(const std::filesystem::path& path) {
  const Model model = load_model(path);
  Json config = model_config(model);
  Json info = {{"net", config["net"]},
               {"parameters", parameter_count(model.network)},
               {"labels", config["labels"]},
               {"config", config},
               {"file", find_model_file(path).string()}};
  if (std::filesystem::exists(path / "config.json"))
    info["config"] = read_json(path / "config.json");
  if (!model.provenance.is_null()) info["provenance"] = model.provenance;
  return info;
}

std::string size_text(const Json& patch) {
  if (!patch.is_array()) return patch.is_string() ? patch.get<std::string>() : patch.dump();
  std::string text;
  for (const Json& length : patch) text += (text.empty() ? "" : " x ") + length.dump();
  return text;
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
            << ", depth " << net["depth"] << ", " << net["in_channels"] << " channel(s) in, "
            << net["classes"] << " classes\n"
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
  if (options.model.empty() != options.describes_a_net()) {
    throw UsageError(
        "info: give either a model (a file or a run folder) or --net with its sizes, such as "
        "--net unet --width 64");
  }
  const Json info = options.model.empty() ? describe_net(options) : describe_model(options.model);
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
  command->add_option("--net", options->net,
                      "count a network's parameters instead: unet, seunet, anatomynet");
  command->add_option("--width", options->width, "filters of its first convolution");
  command->add_option("--depth", options->depth, "its encoder blocks");
  command->add_option("--in-channels", options->in_channels, "channels of its input");
  command->add_option("--classes", options->classes, "its classes, with the background");
  command->callback([options, &globals] { run_info(*options, globals); });
}

}  // namespace lamp
