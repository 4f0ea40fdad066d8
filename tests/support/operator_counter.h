// Which operators torch runs on this thread: what was computed once and remembered runs none again.
#pragma once

#include <ATen/record_function.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>

namespace lamp::testing {

// Counts while it lives; one at a time.
class OperatorCounter {
 public:
  OperatorCounter()
      : handle_(at::addThreadLocalCallback(
            at::RecordFunctionCallback(&see).scopes({at::RecordScope::FUNCTION}))) {
    counts().clear();
  }
  ~OperatorCounter() { at::removeCallback(handle_); }
  OperatorCounter(const OperatorCounter&) = delete;
  OperatorCounter& operator=(const OperatorCounter&) = delete;

  // "aten::convolution"
  std::int64_t calls_of(const std::string& name) const { return counts()[name]; }
  std::int64_t all_calls() const {
    std::int64_t sum = 0;
    for (const auto& [name, count] : counts()) sum += count;
    return sum;
  }

 private:
  static std::map<std::string, std::int64_t>& counts() {
    static std::map<std::string, std::int64_t> counts;
    return counts;
  }
  static std::unique_ptr<at::ObserverContext> see(const at::RecordFunction& call) {
    ++counts()[call.name()];
    return nullptr;
  }

  at::CallbackHandle handle_;
};

}  // namespace lamp::testing
