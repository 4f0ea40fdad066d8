// Reads, checks and builds network configurations.
#include "lamp/nets/net_factory.h"

#include <array>

#include "lamp/base/errors.h"
#include "lamp/nets/anatomynet.h"
#include "lamp/nets/seunet.h"
#include "lamp/nets/unet.h"

namespace lamp {
namespace {

struct Architecture {
  const char* name;
  Links (*links)(const NetConfig&);
  bool fixed_size;  // width and depth are the network's own
};

constexpr std::array kArchitectures = {Architecture{"unet", unet_links, false},
                                       Architecture{"seunet", seunet_links, false},
                                       Architecture{"anatomynet", anatomynet_links, true}};

const Architecture& find_architecture(const std::string& name) {
  for (const auto& architecture : kArchitectures)
    if (name == architecture.name) return architecture;
  throw UsageError("configuration: net.name: found \"" + shortened(name) +
                   "\", expected the name of a network; " +
                   nearest_or_known(name, network_names()));
}

void check_range(const char* key, std::int64_t value, std::int64_t low, std::int64_t high) {
  if (value >= low && value <= high) return;
  throw UsageError(
      c10::str("configuration: net.", key, ": found ", value, ", expected ", low, " to ", high));
}

// Beyond 1024 filters the cap would make width meaningless; beyond depth 8 an input would be padded
// to 1024 voxels.
void check(const NetConfig& config) {
  find_architecture(config.name);
  check_range("width", config.width, 1, 1024);
  check_range("depth", config.depth, 1, 8);
  check_range("in_channels", config.in_channels, 1, 1024);
  check_range("classes", config.classes, 2, 65535);
}

}  // namespace

std::vector<std::string> network_names() {
  std::vector<std::string> names;
  for (const auto& architecture : kArchitectures) names.emplace_back(architecture.name);
  return names;
}

NetConfig parse_net_config(const Json& json) {
  ObjectReader reader(json, "net");
  NetConfig config;
  config.name = reader.get("name", config.name);
  const bool fixed = find_architecture(config.name).fixed_size;
  const NetConfig preset = fixed ? NetConfig{.width = kAnatomyNetWidth, .depth = 1} : NetConfig{};
  config.width = reader.get("width", preset.width);
  config.depth = reader.get("depth", preset.depth);
  config.in_channels = reader.get("in_channels", preset.in_channels);
  config.classes = reader.get("classes", preset.classes);
  reader.finish();
  if (fixed && (config.width != preset.width || config.depth != preset.depth)) {
    throw UsageError(c10::str("configuration: net: ", config.name, " always has width ",
                              preset.width, " and depth ", preset.depth, "; leave both out"));
  }
  check(config);
  return config;
}

Json to_json(const NetConfig& config) {
  return {{"name", config.name},
          {"width", config.width},
          {"depth", config.depth},
          {"in_channels", config.in_channels},
          {"classes", config.classes}};
}

std::int64_t stride_multiple(const NetConfig& config) {
  return find_architecture(config.name).fixed_size ? 2 : std::int64_t{1} << (config.depth + 1);
}

Network make_network(const NetConfig& config) {
  check(config);
  const Architecture& architecture = find_architecture(config.name);
  Network network{.config = config};
  if (architecture.fixed_size) {
    network.config.width = kAnatomyNetWidth;
    network.config.depth = 1;
  }
  network.stride_multiple = stride_multiple(config);
  network.chain = std::make_shared<Sequence>(architecture.links(network.config));
  return network;
}

}  // namespace lamp
