// Which cases are kept for testing.
#include "lamp/convert/prepare_split.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <unordered_set>

#include "lamp/base/errors.h"
#include "lamp/base/interrupt.h"
#include "lamp/base/json.h"
#include "lamp/base/log.h"
#include "lamp/base/random.h"
#include "lamp/base/random_streams.h"
#include "lamp/base/setting_name.h"

namespace lamp {
namespace {

std::vector<std::string> names_of(const SourceSet& set) {
  std::vector<std::string> names;
  for (const SourceCase& found : set.cases) names.push_back(found.name);
  return names;
}

std::vector<std::string> named_cases(const SourceSet& set, const std::vector<std::string>& wanted) {
  const std::vector<std::string> names = names_of(set);
  const std::unordered_set<std::string> known(names.begin(), names.end());
  std::set<std::string> test;
  for (const std::string& name : wanted) {
    if (!known.contains(name))
      throw UsageError("prepare " + setting_name("test_cases") + ": found \"" + shortened(name) +
                       "\", expected the names of cases; " + nearest_or_known(name, names));
    test.insert(name);
  }
  return {test.begin(), test.end()};
}

// A mask may be there and empty, or a file unreadable: such a case is no use as a test case.
bool is_complete(const SourceSet& set, const SourceCase& found) {
  const std::size_t all = set.labels.size() - 1;
  if (found.annotated.size() != all) return false;
  if (!set.read_before_drawing) return true;
  throw_if_interrupted("nothing was written");
  try {
    return set.read(found).facts.annotated.size() == all;
  } catch (const InputError& fault) {
    log_debug(fault.what());
    return false;
  }
}

// The first complete ones, up to `count`, of all cases in random order.
std::vector<std::string> drawn_cases(const SourceSet& set, std::int64_t count, std::uint64_t seed) {
  std::vector<const SourceCase*> order;
  for (const SourceCase& found : set.cases) order.push_back(&found);
  Random random({seed, kPrepareSplitStream});
  for (std::size_t i = order.size(); i > 1; --i)
    std::swap(order[i - 1],
              order[static_cast<std::size_t>(random.below(static_cast<std::int64_t>(i)))]);
  std::vector<std::string> test;
  for (const SourceCase* found : order) {
    if (static_cast<std::int64_t>(test.size()) == count) break;
    if (is_complete(set, *found)) test.push_back(found->name);
  }
  std::sort(test.begin(), test.end());
  return test;
}

}  // namespace

std::vector<std::string> choose_test_cases(const SourceSet& set, const PrepareOptions& options) {
  if (!options.test_cases.empty()) return named_cases(set, options.test_cases);
  if (options.test) {
    auto test = drawn_cases(set, *options.test, options.seed);
    if (static_cast<int>(test.size()) < *options.test)
      throw UsageError("prepare " + setting_name("test") + ": found " +
                       std::to_string(*options.test) + ", expected at most " +
                       std::to_string(test.size()) +
                       ", the number of cases whose every structure is annotated");
    return test;
  }
  std::vector<std::string> usual;
  const std::unordered_set<std::string> known(set.usual_test.begin(), set.usual_test.end());
  for (const std::string& name : names_of(set))
    if (known.contains(name)) usual.push_back(name);
  if (!usual.empty()) return usual;
  const double share = set.test_share[0] / set.test_share[1];
  return drawn_cases(set, std::lround(share * static_cast<double>(set.cases.size())), options.seed);
}

}  // namespace lamp
