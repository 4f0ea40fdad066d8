// Only what is asked for is read: a list may stand for a hundred thousand hosts.
#include "lamp/processes/slurm_lists.h"

#include <cstddef>
#include <regex>

#include "lamp/base/errors.h"
#include "lamp/base/text.h"

namespace lamp {
namespace {

constexpr std::size_t kLongestHostName = 253;  // of the domain name system

// The first entry: up to a comma outside of brackets.
std::string first_entry(const std::string& list) {
  int depth = 0;
  for (std::size_t place = 0; place < list.size(); ++place) {
    if (list[place] == '[') ++depth;
    if (list[place] == ']') --depth;
    if (list[place] == ',' && depth == 0) return list.substr(0, place);
  }
  return list;
}

}  // namespace

std::string first_host(const std::string& list, const std::string& variable) {
  static const std::regex kEntry("([A-Za-z0-9._-]+|\\[[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*\\])+");
  static const std::regex kRange("\\[([0-9]+)[^\\]]*\\]");
  const std::string entry = first_entry(list);
  const bool is_short = entry.size() < 4 * kLongestHostName;  // std::regex recurses
  if (!is_short || !std::regex_match(entry, kEntry))
    throw UsageError(variable + ": \"" + shortened(list) +
                     "\" is no list of hosts such as node[01-04]; set MASTER_ADDR to the machine "
                     "of rank 0");
  return std::regex_replace(entry, kRange, "$1");
}

int tasks_on_node(const std::string& list, int node) {
  static const std::regex kPart("([0-9]{1,6})(?:\\(x([0-9]{1,6})\\))?");
  for (std::sregex_iterator part(list.begin(), list.end(), kPart), end; part != end; ++part) {
    const int nodes = (*part)[2].matched ? std::stoi((*part)[2]) : 1;
    if (node < nodes) return std::stoi((*part)[1]);
    node -= nodes;
  }
  return 0;
}

}  // namespace lamp
