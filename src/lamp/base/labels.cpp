#include "lamp/base/labels.h"

#include "lamp/base/text.h"

namespace lamp {

std::optional<Fault> fault_of_label(std::int64_t id, const std::string& name) {
  if (id < 0 || id > kLargestLabel)
    return Fault{.found = "id " + std::to_string(id),
                 .expected = "0 to " + std::to_string(kLargestLabel),
                 .fix = "renumber the labels, also in the label maps"};
  if (name.empty())
    return Fault{.found = "an empty name", .expected = "the structure's", .fix = "name it"};
  if (name.size() > kLongestLabelName)
    return Fault{.found = "a name of " + std::to_string(name.size()) + " bytes",
                 .expected = std::to_string(kLongestLabelName) + " at most",
                 .fix = "shorten it"};
  if (const std::string shown = printable(name); shown != name)
    return Fault{.found = "the name \"" + shown + "\"",
                 .expected = "text without control characters",
                 .fix = "rename it"};
  return std::nullopt;
}

}  // namespace lamp
