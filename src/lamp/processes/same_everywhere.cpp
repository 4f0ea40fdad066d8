// Everybody sees everything and comes to the same verdict.
#include "lamp/processes/same_everywhere.h"

#include <algorithm>
#include <cstddef>

#include "lamp/base/errors.h"
#include "lamp/base/text.h"
#include "lamp/processes/text_list.h"

namespace lamp {
namespace {

std::string packed_names(const NamedTexts& named) {
  std::vector<std::string> texts;
  for (const auto& [name, value] : named) {
    texts.push_back(name);
    texts.push_back(value);
  }
  return packed_texts(texts);
}

NamedTexts unpacked_names(const std::string& packed) {
  const std::vector<std::string> texts = unpacked_texts(packed);
  NamedTexts named;
  for (std::size_t i = 0; i + 1 < texts.size(); i += 2) named.emplace_back(texts[i], texts[i + 1]);
  return named;
}

}  // namespace

std::string first_difference(const NamedTexts& of_rank_0, const NamedTexts& theirs) {
  const std::size_t both = std::min(of_rank_0.size(), theirs.size());
  for (std::size_t i = 0; i < both; ++i) {
    if (theirs[i].first != of_rank_0[i].first)
      return "found " + shortened(theirs[i].first) + " where rank 0 has " +
             shortened(of_rank_0[i].first);
    if (theirs[i].second != of_rank_0[i].second)
      return theirs[i].first + ": found " + shortened(theirs[i].second) + ", rank 0 has " +
             shortened(of_rank_0[i].second);
  }
  if (theirs.size() > both) return "found " + theirs[both].first + ", rank 0 has none";
  if (of_rank_0.size() > both) return "found no " + of_rank_0[both].first + ", rank 0 has one";
  return "";
}

void check_same_everywhere(World& world, const NamedTexts& own) {
  const std::vector<std::string> all = world.gather_texts(packed_names(own));
  const NamedTexts of_rank_0 = unpacked_names(all.front());
  std::vector<std::string> differing;
  for (int rank = 1; rank < world.size(); ++rank) {
    const std::string difference =
        first_difference(of_rank_0, unpacked_names(all[static_cast<std::size_t>(rank)]));
    if (!difference.empty()) differing.push_back(world.name(rank) + ": " + difference);
  }
  if (differing.empty()) return;
  const std::string more =
      differing.size() > 1 ? " (and " + std::to_string(differing.size() - 1) + " more)" : "";
  throw UsageError(differing.front() + more +
                   "; start all processes with the same program, configuration and data");
}

}  // namespace lamp
