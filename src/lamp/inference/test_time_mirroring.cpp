// Which axes may be mirrored, and the flips that follow.
#include "lamp/inference/test_time_mirroring.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "lamp/base/errors.h"
#include "lamp/base/log.h"
#include "lamp/data/sided_labels.h"

namespace lamp {

std::vector<int> parse_mirror_axes(const std::string& text) {
  std::vector<int> axes;
  std::istringstream parts(text);
  for (std::string name; std::getline(parts, name, ',');) {
    const int axis = name == "x" ? 0 : name == "y" ? 1 : name == "z" ? 2 : -1;
    if (axis < 0 || std::find(axes.begin(), axes.end(), axis) != axes.end())
      throw UsageError("--tta: found \"" + text + "\", expected some of x,y,z, each once");
    axes.push_back(axis);
  }
  if (axes.empty()) throw UsageError("--tta: found nothing, expected some of x,y,z");
  return axes;
}

int left_right_axis(const Geometry& geometry) {
  int best = 0;
  for (int axis = 1; axis < 3; ++axis)
    if (std::abs(geometry.direction[axis]) > std::abs(geometry.direction[best])) best = axis;
  return best;
}

std::vector<int> allowed_mirror_axes(const std::vector<int>& axes, const Geometry& geometry,
                                     const std::map<int, std::string>& labels) {
  const auto pairs = sided_pairs(labels);
  std::vector<int> allowed = axes;
  if (pairs.empty() || std::erase(allowed, left_right_axis(geometry)) == 0) return allowed;
  log_warning_once("--tta: not mirrored from left to right, because labels such as " +
                   labels.at(pairs.front().first) + " and " + labels.at(pairs.front().second) +
                   " are the two sides of a pair");
  return allowed;
}

std::vector<std::vector<std::int64_t>> mirror_flips(const std::vector<int>& axes) {
  std::vector<std::vector<std::int64_t>> all = {{}};
  for (const int axis : axes) {
    const std::size_t count = all.size();
    for (std::size_t i = 0; i < count; ++i) {
      all.push_back(all[i]);
      all.back().push_back(-1 - axis);
    }
  }
  return all;
}

}  // namespace lamp
