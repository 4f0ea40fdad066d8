// A set of those under way.
#include "lamp/processes/cancellation.h"

namespace lamp {

void Cancellation::cancel() {
  const std::lock_guard lock(mutex_);
  is_cancelled_ = true;
  for (const auto& flight : flights_) flight->abort();
}

bool Cancellation::is_cancelled() const {
  const std::lock_guard lock(mutex_);
  return is_cancelled_;
}

bool Cancellation::add(const std::shared_ptr<Flight>& flight) {
  const std::lock_guard lock(mutex_);
  if (is_cancelled_) return false;
  flights_.insert(flight);
  return true;
}

void Cancellation::remove(const std::shared_ptr<Flight>& flight) {
  const std::lock_guard lock(mutex_);
  flights_.erase(flight);
}

}  // namespace lamp
