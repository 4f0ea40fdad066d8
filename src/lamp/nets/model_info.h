// What `lamp info` tells: how large a network is, or what a model says of itself.
#pragma once

#include <filesystem>

#include "lamp/base/json.h"
#include "lamp/nets/network.h"

namespace lamp {

// {"net", "parameters"}. Throws UsageError for a configuration that is none.
Json describe_network(const NetConfig& config);

// Of a model file or a run folder: {"net", "parameters", "labels", "config", "file"} and, where it
// is known, "provenance". A run folder's "config" is the training's, which says more than its
// model's: the curriculum, the loss, the optimizer. Throws InputError as load_model() does.
Json describe_model(const std::filesystem::path& path);

}  // namespace lamp
