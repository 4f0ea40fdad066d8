// Descriptions for people and programs.
#include "lamp/nets/model_info.h"

#include "lamp/nets/model_file.h"
#include "lamp/nets/net_factory.h"

namespace lamp {

Json describe_network(const NetConfig& config) {
  const Network network = make_network(config);
  return {{"net", to_json(network.config)}, {"parameters", parameter_count(network)}};
}

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

}  // namespace lamp
