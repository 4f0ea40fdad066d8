// Words from the command line into JSON.
#include "lamp/cli/network_options.h"

#include <utility>

#include "lamp/base/errors.h"
#include "lamp/inference/patch_choice.h"

namespace lamp {
namespace {

// The words of "[always,never]", which are not JSON's.
Json words_of(const std::string& text) {
  Json words = Json::array();
  std::string word;
  for (const char c : text.substr(1)) {
    if (c != ',' && c != ']') {
      word += c;
    } else if (!word.empty()) {
      words.push_back(std::exchange(word, ""));
    }
  }
  return words;
}

// A number or a list where it reads as one, else the word itself.
Json value_of(const std::string& text) {
  try {
    return parse_json(text, "the command line");
  } catch (const InputError&) {
    return text.starts_with('[') && text.ends_with(']') ? words_of(text) : Json(text);
  }
}

}  // namespace

void add_options(CLI::App& command, NetOptions& options) {
  command.add_option("--net", options.name, "unet, seunet or anatomynet");
  command.add_option("--width", options.width, "filters of the first convolution");
  command.add_option("--depth", options.depth, "encoder blocks after the first");
  command.add_option("--classes", options.classes, "labels with the background");
  command.add_option("--in-channels", options.channels, "channels of the input");
}

Json to_json(const NetOptions& options) {
  Json json = Json::object();
  if (!options.name.empty()) json["name"] = options.name;
  if (options.width) json["width"] = *options.width;
  if (options.depth) json["depth"] = *options.depth;
  if (options.classes) json["classes"] = *options.classes;
  if (options.channels) json["in_channels"] = *options.channels;
  return json;
}

void add_options(CLI::App& command, ExecutionOptions& options) {
  command.add_option("--split", options.split,
                     "replicas=R,stages=K,slabs=L, or auto: what is fastest; default: every device "
                     "is a stage");
  command.add_option("--precision", options.precision, "fp32, bf16, fp16 or auto");
  command.add_option(
      "--layout", options.layout,
      "order of the network's tensors: auto (measured), channels_last or contiguous");
  command.add_option("--schedule", options.schedule, "auto, naive, gpipe, 1f1b or zero-bubble");
  command.add_option("--microbatches", options.microbatches, "auto, or parts of the mini-batch");
  command.add_option(
      "--recompute", options.recompute,
      "auto, never, always, except_last, or one a stage of a given cut: [always,never]");
  command.add_option("--partition", options.partition,
                     "auto, layers a stage such as [20,14], or to cut by time, layers, parameters "
                     "or activations");
  command.add_flag("--deferred-batch-norm", options.deferred_batch_norm,
                   "running statistics of batch norms as if the batch had not been split");
  command.add_option("--costs", options.costs,
                     "where auto gets its seconds: measured, or shapes: the same everywhere");
}

Json to_json(const ExecutionOptions& options) {
  Json json = Json::object();
  if (!options.device.empty()) json["device"] = options.device;
  const auto set = [&](const char* key, const std::string& text) {
    if (!text.empty()) json[key] = value_of(text);
  };
  set("split", options.split);
  set("precision", options.precision);
  set("layout", options.layout);
  set("schedule", options.schedule);
  set("microbatches", options.microbatches);
  set("recompute", options.recompute);
  set("partition", options.partition);
  if (options.deferred_batch_norm) json["deferred_batch_norm"] = true;
  set("costs", options.costs);
  return json;
}

}  // namespace lamp
