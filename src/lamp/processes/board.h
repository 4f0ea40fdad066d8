// What all processes of a run can read and write: a few short texts with names. Real ones lie in
// the store that rank 0 or the launcher keeps (connections.h).
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace lamp {

// Used by one thread at a time. A call may wait for ever where the process that keeps the texts has
// stopped, and throws where it has gone.
class Board {
 public:
  virtual ~Board() = default;
  virtual void set(const std::string& key, const std::string& value) = 0;
  virtual std::optional<std::string> get(const std::string& key) = 0;
  // All are there.
  virtual std::vector<std::string> get_all(const std::vector<std::string>& keys) = 0;
  // Unless something stands there already. Returns what stands there now.
  virtual std::string set_once(const std::string& key, const std::string& value) = 0;
};

}  // namespace lamp
