// Whether torch or a library under it means that memory ran out, and what was asked for: torch's CPU
// allocator throws the same class as every check.
#pragma once

#include <c10/util/Exception.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <exception>
#include <string>
#include <string_view>

#include "lamp/base/text.h"

namespace lamp {

inline bool is_out_of_memory(const c10::Error& error) {
  const std::string message = error.what_without_backtrace();
  return message.find("allocate") != std::string::npos ||
         message.find("out of memory") != std::string::npos ||
         message.find("ALLOC_FAILED") != std::string::npos;  // of cuBLAS and cuDNN
}

// Of oneDNN: a kernel that it has described it can always make, but for want of memory for the
// kernel's code or workspace. A shape without a kernel has another message, of a descriptor.
inline bool is_out_of_memory(const std::exception& error) {
  return std::string_view(error.what()) == "could not create a primitive";
}

// "123.8 MiB"; empty where the message does not say it. The host's allocator counts bytes, a GPU's
// writes "2.00 GiB".
inline std::string asked_for(const c10::Error& error) {
  const std::string message = error.what_without_backtrace();
  constexpr std::string_view kBefore = "ried to allocate ";
  const std::size_t before = message.find(kBefore);
  if (before == std::string::npos) return "";
  const std::size_t number = before + kBefore.size();
  const std::size_t space = std::min(message.find(' ', number), message.size());
  std::string unit = message.substr(space);
  unit.resize(std::min(unit.find_first_of(".,;"), unit.size()));
  if (unit != " bytes") return message.substr(number, space - number) + unit;
  std::int64_t bytes = 0;
  std::from_chars(message.data() + number, message.data() + space, bytes);
  return bytes > 0 ? need_bytes_text(bytes) : "";
}

}  // namespace lamp
