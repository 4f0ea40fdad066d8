// The text of a cause, as it stands on the board: rank, exit code, what.
#include "lamp/processes/world_failed.h"

#include <cstddef>
#include <stdexcept>

#include "lamp/base/text.h"

namespace lamp {

std::string cause_text(const FailureCause& cause) {
  return std::to_string(cause.rank) + " " + std::to_string(cause.exit_code) + " " + cause.what;
}

FailureCause cause_from(const std::string& text) {
  const std::size_t first = text.find(' ');
  const std::size_t second = first == std::string::npos ? first : text.find(' ', first + 1);
  try {
    if (second != std::string::npos)
      return {std::stoi(text.substr(0, first)), std::stoi(text.substr(first + 1)),
              text.substr(second + 1)};
  } catch (const std::logic_error&) {
  }
  return {0, kExitRuntime, "failed: " + shortened(text)};
}

}  // namespace lamp
