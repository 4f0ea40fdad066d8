// The two short forms in which Slurm writes lists.
#pragma once

#include <string>

namespace lamp {

// The first host of "node[01-04,07],other" or "r[1-2]n[01-03]": "node01", "r1n01". Throws
// UsageError that names `variable` where it is no such list.
std::string first_host(const std::string& list, const std::string& variable);

// How many tasks the node with number `node` (counted from 0) has, of "2(x3),1"; 0 where the list
// does not say.
int tasks_on_node(const std::string& list, int node);

}  // namespace lamp
