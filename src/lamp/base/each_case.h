// The same work on each of many cases. They differ much in size, so each thread takes the next one
// that is free.
#pragma once

#include <cstddef>
#include <functional>
#include <string>

#include "lamp/base/interrupt.h"

namespace lamp {

struct CaseLoop {
  std::string title;  // of the progress line
  std::size_t cases = 0;
  int own_threads = 0;  // as many are started, with one of OpenMP's each; 0 = torch's threads
  const char* when_interrupted = "nothing was changed";
  // A signal from before is the caller's: training still takes a step, and saves.
  int earlier_signal = caught_signal();
};

// Calls work(i) once for each case; what it returns stands behind the progress bar. Throws
// Interrupted after another signal than the earlier one, else the first error by the order of
// cases. After either, no further case is begun. `work` must be callable from several threads at
// once.
void for_each_case(const CaseLoop& loop, const std::function<std::string(std::size_t)>& work);

}  // namespace lamp
