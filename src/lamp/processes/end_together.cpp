// One line and an exit code for each kind of exception, as the program tells them.
#include "lamp/processes/end_together.h"

#include <exception>
#include <new>
#include <string>

#include "lamp/base/out_of_memory.h"

namespace lamp {
namespace {

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

FailureCause cause_of(const std::exception& error) {
  if (const auto* own = dynamic_cast<const Error*>(&error))
    return {.exit_code = own->exit_code(), .what = own->what()};
  const FailureCause no_memory{.exit_code = kExitDoesNotFit, .what = "out of memory"};
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr || is_out_of_memory(error))
    return no_memory;
  if (const auto* torchs = dynamic_cast<const c10::Error*>(&error))
    return is_out_of_memory(*torchs)
               ? no_memory
               : FailureCause{.what = first_line(torchs->what_without_backtrace())};
  return {.what = first_line(error.what())};
}

}  // namespace

void end_together(World& world, const std::function<void()>& work) {
  try {
    work();
  } catch (const WorldFailed&) {
    throw;
  } catch (const std::exception& error) {
    const FailureCause cause = cause_of(error);
    world.fail(cause.what, cause.exit_code);
    throw;
  }
}

}  // namespace lamp
