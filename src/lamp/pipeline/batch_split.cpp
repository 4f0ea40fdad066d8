// The larger parts come first.
#include "lamp/pipeline/batch_split.h"

#include <c10/util/Exception.h>

#include <string>

#include "lamp/base/log.h"
#include "lamp/base/text.h"

namespace lamp {

std::vector<MicroBatch> split_batch(std::int64_t samples, std::int64_t parts) {
  TORCH_CHECK(samples >= 1 && parts >= 1, "cannot split ", samples, " samples into ", parts,
              " micro-batches");
  if (parts > samples) {
    log_warning_once("a batch of " + counted(samples, "sample") + " has no " +
                     counted(parts, "micro-batch") + ": using " + std::to_string(samples));
    parts = samples;
  }
  std::vector<MicroBatch> split;
  std::int64_t first = 0;
  for (std::int64_t i = 0; i < parts; ++i) {
    const std::int64_t count = samples / parts + (i < samples % parts ? 1 : 0);
    split.push_back({first, count});
    first += count;
  }
  return split;
}

}  // namespace lamp
