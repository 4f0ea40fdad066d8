// Messages under way, and how waits for them end early.
#pragma once

#include <memory>
#include <mutex>
#include <set>

namespace lamp {

// One message. wait() is called once; abort() from any thread, before or during it.
class Flight {
 public:
  virtual ~Flight() = default;
  // Whether it has arrived; if not, abort() was called. Throws where the other side has gone.
  virtual bool wait() = 0;
  virtual void abort() = 0;
};

// Ends the waits for all its messages at once, for good. Thread-safe.
class Cancellation {
 public:
  void cancel();
  bool is_cancelled() const;
  // False once it is cancelled: the message is not its business then.
  bool add(const std::shared_ptr<Flight>& flight);
  void remove(const std::shared_ptr<Flight>& flight);

 private:
  mutable std::mutex mutex_;
  // Guarded by mutex_:
  bool is_cancelled_ = false;
  std::set<std::shared_ptr<Flight>> flights_;
};

}  // namespace lamp
