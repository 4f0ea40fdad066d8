// Whether all processes mean the same run.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "lamp/processes/world.h"

namespace lamp {

// In order: what, and what it is here ("program version", "0.1.0").
using NamedTexts = std::vector<std::pair<std::string, std::string>>;

// A call of all processes. Throws the same UsageError in all of them where one differs from rank 0:
// "rank 2 on node7: program version: found 0.1.0, rank 0 has 0.2.0".
void check_same_everywhere(World& world, const NamedTexts& own);

// The first thing in which `theirs` differs: "program version: found 0.1.0, rank 0 has 0.2.0";
// empty where none does.
std::string first_difference(const NamedTexts& of_rank_0, const NamedTexts& theirs);

}  // namespace lamp
