// Which axes may be mirrored, and the flips that follow.
#include "lamp/inference/test_time_mirroring.h"

#include <algorithm>
#include <iterator>
#include <sstream>

#include "lamp/base/errors.h"
#include "lamp/base/log.h"
#include "lamp/base/setting_name.h"
#include "lamp/base/text.h"
#include "lamp/dataset/sided_labels.h"

namespace lamp {
namespace {

std::string axis_name(int axis) { return std::string(1, static_cast<char>('x' + axis)); }

std::string names_of(const std::vector<int>& axes) {
  std::vector<std::string> names;
  for (const int axis : axes) names.push_back(axis_name(axis));
  return names.empty() ? "none" : joined(names, ",");
}

bool holds(const std::vector<int>& axes, int axis) {
  return std::find(axes.begin(), axes.end(), axis) != axes.end();
}

void warn(Mirroring& mirroring, const std::string& reason) {
  mirroring.left_out.push_back(reason);
  log_warning(setting_name("mirror") + ": " + reason);
}

// The classes of a pair: ids become their places in the list of labels.
std::vector<std::pair<int, int>> twin_classes(const std::map<int, std::string>& labels) {
  std::vector<std::pair<int, int>> twins;
  const auto place = [&](int id) {
    return static_cast<int>(std::distance(labels.begin(), labels.find(id)));
  };
  for (const auto& [left, right] : sided_pairs(labels))
    twins.emplace_back(place(left), place(right));
  return twins;
}

void refuse_lonely_sides(const std::map<int, std::string>& labels) {
  const auto alone = labels_without_twin(labels);
  if (alone.empty()) return;
  const std::string& name = alone.begin()->second;
  throw UsageError(setting_name("mirror") + ": label \"" + name +
                   "\" names a side, but there is no \"" + mirrored_name(name) +
                   "\" to exchange it with in mirrored images; leave " + setting_name("mirror") +
                   " out");
}

void refuse_unknown_sides(const std::string& file, const std::map<int, std::string>& labels) {
  const auto pairs = sided_pairs(labels);  // some have a side only beside their twin
  for (const auto& [id, name] : labels) {
    const bool paired = std::any_of(pairs.begin(), pairs.end(),
                                    [id = id](const auto& pair) { return pair.first == id; });
    if (mirrored_name(name).empty() && !paired) continue;
    throw UsageError(setting_name("mirror") + ": " + file +
                     " does not say which axes its training mirrored, and its label \"" + name +
                     "\" names a side, which a mirrored image turns into the other; leave " +
                     setting_name("mirror") + " out");
  }
}

}  // namespace

MirrorRequest parse_mirror_request(const std::string& text) {
  if (text == "trained") return {.as_trained = true};
  MirrorRequest request;
  std::istringstream parts(text);
  for (std::string name; std::getline(parts, name, ',');) {
    const int axis = name == "x" ? 0 : name == "y" ? 1 : name == "z" ? 2 : -1;
    if (axis < 0 || holds(request.axes, axis))
      throw UsageError(setting_name("mirror") + ": found \"" + shortened(text) +
                       "\", expected some of x,y,z, each once");
    request.axes.push_back(axis);
  }
  if (request.axes.empty() || text.back() == ',')
    throw UsageError(setting_name("mirror") + ": found \"" + shortened(text) +
                     "\", expected some of x,y,z");
  return request;
}

Json Mirroring::to_json() const {
  Json json = {{"axes", Json::array()}, {"left_out", left_out}};
  for (const int axis : axes) json["axes"].push_back(axis_name(axis));
  return json;
}

Mirroring settle_mirroring(const MirrorRequest& request,
                           const std::vector<TrainedMirroring>& models,
                           const std::map<int, std::string>& labels) {
  Mirroring mirroring;
  if (!request.wanted()) return mirroring;
  mirroring.axes = request.as_trained ? std::vector<int>{0, 1, 2} : request.axes;
  std::sort(mirroring.axes.begin(), mirroring.axes.end());
  for (const auto& [file, trained] : models) {
    if (!trained) {
      refuse_unknown_sides(file, labels);
      log_warning(setting_name("mirror") + ": " + file +
                  " does not say which axes its training mirrored; compare the result with one "
                  "without " +
                  setting_name("mirror"));
      continue;
    }
    std::vector<int> untrained;
    std::copy_if(mirroring.axes.begin(), mirroring.axes.end(), std::back_inserter(untrained),
                 [&trained = trained](int axis) { return !holds(*trained, axis); });
    if (untrained.empty()) continue;
    std::erase_if(mirroring.axes, [&](int axis) { return holds(untrained, axis); });
    const std::string reason = file + " was trained with mirrored axes " + names_of(*trained) +
                               ": not mirrored along " + names_of(untrained);
    // Asked to do as training did, to do just that needs no warning, unless nothing is left.
    if (!request.as_trained || mirroring.axes.empty())
      warn(mirroring, reason);
    else
      mirroring.left_out.push_back(reason);
  }
  if (mirroring.axes.empty()) return mirroring;
  refuse_lonely_sides(labels);
  mirroring.twins = twin_classes(labels);
  return mirroring;
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

torch::Tensor mirrored_back(const torch::Tensor& scores, const std::vector<std::int64_t>& flip,
                            const std::vector<std::pair<int, int>>& twins) {
  if (flip.empty()) return scores;
  torch::Tensor back = scores.flip(flip);
  if (flip.size() % 2 == 0) return back;
  for (const auto& [left, right] : twins) {
    const torch::Tensor was_left = back[left].clone();
    back[left].copy_(back[right]);
    back[right].copy_(was_left);
  }
  return back;
}

}  // namespace lamp
