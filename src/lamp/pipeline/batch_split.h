// The split of a mini-batch into micro-batches: exactly as many parts as asked, whose sizes differ
// by at most one. (torch's chunk gives 3 parts for 5, 6 or 9 samples in 4.)
#pragma once

#include <cstdint>
#include <vector>

namespace lamp {

struct MicroBatch {
  std::int64_t first;  // sample
  std::int64_t count;
  bool operator==(const MicroBatch&) const = default;
};

// `parts` larger than the batch becomes the batch size, which is said once in the log. samples,
// parts >= 1.
std::vector<MicroBatch> split_batch(std::int64_t samples, std::int64_t parts);

}  // namespace lamp
