// The same name written in two ways: a Mac decomposes "ü" into "u" and a mark where others store
// one letter, so a list made on one machine may not find a file copied from the other.
#pragma once

#include <string>

namespace lamp {

bool is_ascii(const std::string& text);

// UTF-8 with every composed letter taken apart (Unicode's canonical decomposition, NFD): two names
// that look the same become the same bytes. What is no UTF-8 stays as it is.
std::string decomposed(const std::string& name);

}  // namespace lamp
