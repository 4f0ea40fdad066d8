// Model files over safetensors: names, shapes and metadata are all checked before a weight is
// touched.
#include "lamp/nets/model_file.h"

#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <charconv>
#include <set>
#include <utility>

#include "lamp/base/errors.h"
#include "lamp/base/labels.h"
#include "lamp/base/text.h"
#include "lamp/nets/anatomynet.h"
#include "lamp/nets/net_factory.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

constexpr const char* kFormat = "lamp-model";
constexpr const char* kVersion = "1";
constexpr std::string_view kPublishedPrefix = "state.";
constexpr std::size_t kShownCharacters = 40;  // of a text that may be of any length

using Tensors = std::map<std::string, torch::Tensor>;

[[noreturn]] void refuse(const fs::path& file, Fault rest) {
  rest.file = file.string();
  rest.what = "not a usable model";
  if (rest.fix.empty()) rest.fix = "get it again or name another model";
  throw InputError(std::move(rest));
}

Tensors published_state(const Tensors& tensors) {
  Tensors state;
  for (const auto& [name, tensor] : tensors)
    if (name.starts_with(kPublishedPrefix)) state[name.substr(kPublishedPrefix.size())] = tensor;
  return state.empty() ? tensors : state;
}

void refuse_if_any(const fs::path& file, const std::string& what,
                   const std::vector<std::string>& names) {
  if (names.empty()) return;
  std::vector<std::string> shown;
  for (const std::string& name : names) shown.push_back(shortened(name, 200));
  refuse(file, {.found = what + ": " + joined_first(shown, 3)});
}

bool may_be_absent(const std::string& name) { return name.ends_with("num_batches_tracked"); }

void check_against(const Tensors& wanted, const Tensors& given, const fs::path& file) {
  std::vector<std::string> missing, unexpected, misshapen, not_finite;
  for (const auto& [name, tensor] : wanted) {
    const auto found = given.find(name);
    if (found == given.end()) {
      if (!may_be_absent(name)) missing.push_back(name);
    } else if (found->second.sizes() != tensor.sizes() ||
               found->second.is_floating_point() != tensor.is_floating_point()) {
      misshapen.push_back(
          c10::str(name, " (found ", found->second.sizes(), ", expected ", tensor.sizes(), ")"));
    } else if (!torch::isfinite(found->second).all().item<bool>()) {
      not_finite.push_back(name);
    }
  }
  for (const auto& [name, tensor] : given)
    if (!wanted.contains(name)) unexpected.push_back(name);
  refuse_if_any(file, "its tensors are not this network's: missing", missing);
  refuse_if_any(file, "its tensors are not this network's: unexpected", unexpected);
  refuse_if_any(file, "its tensors are not this network's: of another shape or type", misshapen);
  refuse_if_any(file, "its weights are not finite, so the training that wrote it failed",
                not_finite);
}

// A damaged description must not make us build a network that is far larger than the file.
void check_size(const NetConfig& config, const Tensors& tensors, const fs::path& file) {
  std::int64_t held = 0;
  for (const auto& [name, tensor] : tensors) held += tensor.numel();
  const bool fixed = config.name == "anatomynet";
  const auto filters =
      fixed ? std::vector<std::int64_t>{kAnatomyNetWidth} : encoder_filters(config);
  const std::int64_t last = std::clamp<std::int64_t>(filters[0] / 2, 1, 32);  // append_head
  std::int64_t least = 27 * (config.in_channels * filters[0] + (fixed ? 1 : last) * config.classes);
  for (std::size_t i = 1; i < filters.size(); ++i) least += 27 * filters[i - 1] * filters[i];
  if (held < least) {
    refuse(file,
           {.found = std::to_string(held) + " weights",
            .expected = c10::str("more than ", least, " for ", config.name, " of width ",
                                 config.width, ", depth ", config.depth, ", ", config.in_channels,
                                 " channels and ", config.classes, " classes")});
  }
}

Json config_of(const SafeTensors& content, const fs::path& file) {
  const auto value = [&](const std::string& key) {
    const auto found = content.metadata.find(key);
    return found == content.metadata.end() ? std::string() : found->second;
  };
  if (value("format") != kFormat) {
    refuse(file, {.found = "its metadata lacks format = lamp-model; it holds weights or a training "
                           "state, but not which network they belong to",
                  .fix = "name the best.safetensors or last.safetensors of a run"});
  }
  if (value("version") != kVersion)
    refuse(file, {.found = "format version \"" + shortened(value("version")) + "\"",
                  .expected = "version 1, which this program reads"});
  Json config = parse_json(value("config"), file.string());
  for (const char* key : {"net", "labels", "data"}) {
    if (!config.is_object() || !config.contains(key) || !config[key].is_object())
      refuse(file, {.found = std::string("its config lacks the object \"") + key + "\""});
  }
  return config;
}

NetConfig net_of(const Json& config, const fs::path& file) {
  try {
    return parse_net_config(config["net"]);
  } catch (const UsageError& error) {
    refuse(file, {.found = error.what()});
  }
}

std::map<int, std::string> labels_of(const Json& config, std::int64_t classes,
                                     const fs::path& file) {
  std::map<int, std::string> labels;
  std::set<std::string> names;
  for (const auto& [key, name] : config["labels"].items()) {
    const std::string shown = "label \"" + key.substr(0, kShownCharacters) + "\"";
    std::int64_t id = -1;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size() || !name.is_string())
      refuse(file, {.found = shown + ": " + shortened(name.dump(), kShownCharacters),
                    .expected = "a number and a name"});
    if (auto fault = fault_of_label(id, name.get_ref<const std::string&>())) {
      fault->found = shown + ": " + fault->found;
      refuse(file, *std::move(fault));
    }
    if (!labels.emplace(static_cast<int>(id), name.get<std::string>()).second)
      refuse(file, {.found = shown + ": the id twice", .expected = "every id once"});
    if (!names.insert(name.get<std::string>()).second)
      refuse(file, {.found = shown + ": the name twice", .expected = "every name once"});
  }
  if (!labels.contains(0))
    refuse(file, {.found = "no label 0", .expected = "the background as label 0"});
  if (static_cast<std::int64_t>(labels.size()) != classes)
    refuse(file, {.found = c10::str(labels.size(), " labels for ", classes, " classes"),
                  .expected = "as many"});
  return labels;
}

std::optional<std::vector<int>> mirrored_axes_of(const Json& config, const fs::path& file) {
  const auto found = config.find("mirrored_axes");
  if (found == config.end() || found->is_null()) return std::nullopt;
  std::set<int> axes;
  bool usable = found->is_array();
  for (const Json& axis : usable ? *found : Json::array()) {
    usable = usable && (axis == "x" || axis == "y" || axis == "z");
    if (usable) axes.insert(axis.get_ref<const std::string&>()[0] - 'x');
  }
  if (!usable)
    refuse(file, {.found = "\"mirrored_axes\": " + shortened(found->dump(), kShownCharacters),
                  .expected = "a list of some of x, y, z"});
  return std::vector<int>(axes.begin(), axes.end());
}

}  // namespace

OwnTest own_model() {
  return [](const fs::path& file) {
    try {
      const auto metadata = read_safetensors_metadata(file);
      const auto format = metadata.find("format");
      return format != metadata.end() && format->second == kFormat;
    } catch (const InputError&) {
      return false;
    }
  };
}

Json model_config(const Model& model) {
  Json labels = Json::object();
  for (const auto& [id, name] : model.labels) labels[std::to_string(id)] = name;
  Json config = {{"net", to_json(model.network.config)}, {"labels", labels}, {"data", model.data}};
  if (!model.provenance.is_null()) config["provenance"] = model.provenance;
  if (model.mirrored_axes) {
    config["mirrored_axes"] = Json::array();
    for (const int axis : *model.mirrored_axes)
      config["mirrored_axes"].push_back(std::string(1, static_cast<char>('x' + axis)));
  }
  if (!model.intensities.is_null()) config["intensities"] = model.intensities;
  return config;
}

void save_model(const fs::path& file, const Model& model) {
  TORCH_CHECK(static_cast<std::int64_t>(model.labels.size()) == model.network.config.classes,
              "a model needs a label for each of its ", model.network.config.classes,
              " classes, found ", model.labels.size());
  write_safetensors(file, {.tensors = model.network.state(),
                           .metadata = {{"format", kFormat},
                                        {"version", kVersion},
                                        {"config", dump_json(model_config(model), -1)}}});
}

fs::path find_model_file(const fs::path& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return path;
  for (const char* name : {"best.safetensors", "last.safetensors"})
    if (fs::exists(path / name, error)) return path / name;
  const auto has = [&](const char* name) { return fs::exists(path / name, error); };
  Fault fault{.file = path.string(),
              .what = "no model",
              .found = "the folder holds neither best.safetensors nor last.safetensors",
              .fix = "name a run folder or a model"};
  if (has("config.json")) {
    fault.fix = "wait until its training has saved something, or name a model";
  } else if (has("dataset.json") || has("imagesTr")) {
    fault.found = "a data set";
    fault.expected = "a run folder or a model";
    fault.fix = "lamp check describes data sets";
  }
  throw InputError(std::move(fault));
}

void load_weights(Network& network, const SafeTensors& content, const fs::path& file) {
  const torch::NoGradGuard no_grad;
  const Tensors given = published_state(content.tensors);
  Tensors wanted = network.state();
  check_against(wanted, given, file);
  for (auto& [name, tensor] : wanted)
    if (const auto found = given.find(name); found != given.end()) tensor.copy_(found->second);
}

Model load_model(const fs::path& path) {
  const fs::path file = find_model_file(path);
  const SafeTensors content = read_safetensors(file);
  const Json config = config_of(content, file);
  const NetConfig net = net_of(config, file);
  check_size(net, content.tensors, file);
  auto labels = labels_of(config, net.classes, file);
  auto mirrored_axes = mirrored_axes_of(config, file);
  Model model{.network = make_network(net), .labels = std::move(labels)};
  model.data = config["data"];
  model.mirrored_axes = std::move(mirrored_axes);
  if (config.contains("provenance")) model.provenance = config["provenance"];
  if (config.contains("intensities")) model.intensities = config["intensities"];
  load_weights(model.network, content, file);
  model.network.chain->eval();
  return model;
}

}  // namespace lamp
