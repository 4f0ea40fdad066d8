// The line for memory that ran out, in the words of the command that ran.
#pragma once

#include <string>

namespace lamp {

// command: "synth", "bench input"; empty before one was understood. asked_for: "123.8 MiB", empty
// where that is not known.
std::string out_of_memory_words(const std::string& command, const std::string& asked_for);

}  // namespace lamp
