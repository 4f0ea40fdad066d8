// A trained network in one file that says all that is needed to use it: format lamp-model, version
// 1, readable with Python's safetensors package and free of code.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lamp/base/fault.h"
#include "lamp/base/json.h"
#include "lamp/base/own_output.h"
#include "lamp/base/safetensors.h"
#include "lamp/nets/network.h"

namespace lamp {

struct Model {
  Network network;
  std::map<int, std::string> labels;  // id -> name (base/labels.h); as many as there are classes
  Json data = Json::object();  // the preprocessing: {"spacing_mm", "window", ...}; opaque here
  Json provenance;             // how the model came to be; null if unknown
  // Axes of the network's grid (0 = x, 1 = y, 2 = z), ascending, that training mirrored, each by
  // itself, labels of left and right exchanged: "mirrored_axes" in the file. None = unknown.
  std::optional<std::vector<int>> mirrored_axes;
  Json intensities;  // the values it was trained on (cases/intensity_stats.h); null if unknown
};

// Writes atomically. Tensors stand under the chain's own names.
void save_model(const std::filesystem::path& file, const Model& model);

// `path` is a model file, or a run folder whose best.safetensors (else last.safetensors) is taken.
// The network is on the CPU in evaluation mode. Throws InputError for anything that is no whole
// lamp-model of a known version.
Model load_model(const std::filesystem::path& path);
// The file that load_model would read. Throws InputError if there is none.
std::filesystem::path find_model_file(const std::filesystem::path& path);

// Models of LAMP's, whatever network they hold; by the header, so that damaged weights are no
// reason to keep one.
OwnTest own_model();

// The description stored in a model's metadata: {"net", "labels", "data", "provenance",
// "mirrored_axes", "intensities"}; the last three where they are known.
Json model_config(const Model& model);

// Fills the network from `content`, read from `file`. Where names begin with "state." (the
// published weights), only those are read, without that prefix. Throws InputError that names up to
// three tensors which are missing, unexpected, of another shape or not finite; the network is then
// unchanged.
void load_weights(Network& network, const SafeTensors& content, const std::filesystem::path& file);

}  // namespace lamp
