// A control for experiments on context: if the label of a patch could be told from the patch alone,
// a larger input would prove nothing. A small classifier is trained to do just that, on patches cut
// as training cuts them; on phantoms that hold no cue it stays at chance.
#pragma once

#include <cstdint>

#include "lamp/base/size3.h"
#include "lamp/cases/preprocess.h"
#include "lamp/phantoms/phantom.h"

namespace lamp {

struct ProbeOptions {
  PhantomOptions phantoms;  // kind, size and seed; the cases are drawn, not read
  DataConfig data;
  Size3 patch;  // x, y, z
  int train_cases = 150;
  int test_cases = 150;
  int steps = 250;  // of 32 patches
  std::uint64_t seed = 0;
};

struct ProbeResult {
  double accuracy = 0;        // on patches of cases that the classifier never saw
  double train_accuracy = 0;  // over the last steps
  double chance = 0;          // 1 / labels
  // One standard error of the accuracy at chance. Patches around the same structure are nearly the
  // same, so its structures count, not its patches.
  double standard_error = 0;
  std::int64_t patches = 0;

  bool at_chance() const;  // accuracy at most two standard errors above chance
};

// Every label is the centre of equally many patches; the classifier keeps the coarse place of what
// it sees in the patch. The same options give the same result on the same number of threads.
ProbeResult probe_patches(const ProbeOptions& options);

}  // namespace lamp
