// Whether torch means that memory ran out: its CPU allocator throws the same class as every check.
#pragma once

#include <c10/util/Exception.h>

#include <string>

namespace lamp {

inline bool is_out_of_memory(const c10::Error& error) {
  const std::string message = error.what_without_backtrace();
  return message.find("allocate") != std::string::npos ||
         message.find("out of memory") != std::string::npos;
}

}  // namespace lamp
