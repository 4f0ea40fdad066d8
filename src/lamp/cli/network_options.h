// The options that `bench`, `plan` and `train` share: which network, and how it is run. Both become
// the configuration's own JSON, so that command line and file say the same in the same words.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>

#include "lamp/base/json.h"
#include "lamp/base/size3.h"

namespace lamp {

struct NetOptions {
  std::string name;  // empty = not given
  std::optional<std::int64_t> width, depth, classes, channels;
};
void add_options(CLI::App& command, NetOptions& options);
// The "net" object: only what was given.
Json to_json(const NetOptions& options);

// Empty = not given.
struct ExecutionOptions {
  std::string device, precision, layout, split, schedule, microbatches, recompute, partition, costs;
  bool deferred_batch_norm = false;
};
// All but the device, whose help depends on the command.
void add_options(CLI::App& command, ExecutionOptions& options);
// The "execution" object: only what was given.
Json to_json(const ExecutionOptions& options);

}  // namespace lamp
