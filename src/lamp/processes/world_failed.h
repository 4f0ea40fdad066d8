// Why a run of many processes has ended, the same in all of them.
#pragma once

#include <string>
#include <utility>

#include "lamp/base/errors.h"

namespace lamp {

// The first thing that went wrong, in whichever process.
struct FailureCause {
  int rank = 0;  // where
  int exit_code = kExitRuntime;
  std::string what;
};

// As one text, and back; a text of another kind is shown as it is.
std::string cause_text(const FailureCause& cause);
FailureCause cause_from(const std::string& text);

// What every process throws that waits for another one when the run has failed: "rank 3 on node7:
// disk full", with the exit code of the cause.
class WorldFailed : public Error {
 public:
  // name: "rank 3 on node7".
  WorldFailed(FailureCause cause, const std::string& name)
      : Error(name + ": " + cause.what, cause.exit_code), cause_(std::move(cause)) {}
  const FailureCause& cause() const { return cause_; }

 private:
  FailureCause cause_;
};

}  // namespace lamp
