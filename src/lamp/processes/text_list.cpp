// Netstrings, without their commas.
#include "lamp/processes/text_list.h"

#include <charconv>
#include <cstddef>

#include "lamp/base/errors.h"
#include "lamp/base/text.h"

namespace lamp {

std::string packed_texts(const std::vector<std::string>& texts) {
  std::string packed;
  for (const std::string& text : texts) packed += std::to_string(text.size()) + ":" + text;
  return packed;
}

std::vector<std::string> unpacked_texts(const std::string& packed) {
  std::vector<std::string> texts;
  std::size_t place = 0;
  while (place < packed.size()) {
    std::size_t length = 0;
    const char* const last = packed.data() + packed.size();
    const auto [end, error] = std::from_chars(packed.data() + place, last, length);
    const auto start = static_cast<std::size_t>(end - packed.data()) + 1;
    if (error != std::errc() || end == last || *end != ':' || length > packed.size() - start)
      throw Error("a process of another kind or version has sent \"" + shortened(packed) + "\"");
    texts.push_back(packed.substr(start, length));
    place = start + length;
  }
  return texts;
}

}  // namespace lamp
