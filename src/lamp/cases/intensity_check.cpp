// Thresholds are shares and multiples, never values, so that they mean the same for CT and MR.
#include "lamp/cases/intensity_check.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

#include "lamp/cases/dark_end.h"

namespace lamp {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
// In ranges of the body, beyond what training showed. A body that is half as bright is cut off by
// the threshold, so that its median moves by some 0.4 and its upper quartile by more; a part cut
// out of one bright tissue moves each by 0.3.
constexpr double kMargin = 0.7;        // the median and the farther other quartile together
constexpr double kMedianMargin = 0.2;  // the median
constexpr double kEvenEdge = 0.1;      // of the image's own range: the edge's place and quartiles
constexpr double kFarBelow = 0.25;  // of the voxels, below the least of training by a body's range
constexpr double kFewTimesLess = 50;  // so much less body than in any case of training
constexpr double kManyAtTop = 0.25;   // of the body
constexpr double kFlat = 0.02;        // of the body's range: hardly any contrast
constexpr double kDarkShare = 0.05;   // of every training image below the threshold
constexpr double kNoDark = 0.0005;
constexpr double kPadding = 0.05;         // an image's least value is padding if as many hold it
constexpr double kMostForeground = 0.75;  // clipped to one value
constexpr double kMostVolume = 0.99;      // clipped to the lower end, where air is
constexpr double kManyBright = 0.5;       // clipped to the upper end
constexpr double kUnused = 0.25;          // of the window, at its lower end
constexpr double kQuartiles[] = {0.25, 0.5, 0.75};
constexpr const char* kQuartileNames[] = {"q25", "q50", "q75"};

std::string text_of(double value) {
  char buffer[32];
  std::snprintf(buffer, sizeof(buffer), "%.4g", value);
  return buffer;
}
std::string percent(double share) { return text_of(std::round(1000 * share) / 10) + " %"; }
std::string text_of(const std::array<double, 2>& range) {
  return range[0] == range[1] ? text_of(range[0]) : text_of(range[0]) + " to " + text_of(range[1]);
}

double clipped(double value, const Window& window) {
  return window ? std::clamp(value, (*window)[0], (*window)[1]) : value;
}

// Otsu's threshold over values clipped to [low, high]: the one between the two classes that lie
// farthest apart.
double split_value(const ValueCounts& counts, double low, double high) {
  double total = 0, sum = 0;
  const auto value = [&](std::size_t i) { return std::clamp<double>(counts.values[i], low, high); };
  for (std::size_t i = 0; i < counts.values.size(); ++i) {
    total += static_cast<double>(counts.counts[i]);
    sum += static_cast<double>(counts.counts[i]) * value(i);
  }
  double best = -1, first = low, last = low, below = 0, sum_below = 0;
  for (std::size_t i = 0; i + 1 < counts.values.size(); ++i) {
    below += static_cast<double>(counts.counts[i]);
    sum_below += static_cast<double>(counts.counts[i]) * value(i);
    if (!(value(i + 1) > value(i)) || below >= total) continue;
    const double apart = sum_below / below - (sum - sum_below) / (total - below);
    const double between = below * (total - below) * apart * apart;
    if (between < best) continue;
    if (between > best) first = value(i);
    best = between;
    last = value(i + 1);
  }
  return (first + last) / 2;  // halfway across the gap
}

// Where the body begins, what counts as its top, and what lies far below all that training showed.
struct Reference {
  double threshold = 0, top = 0, far = 0;
};

struct BodyNumbers {
  std::array<double, 3> quartiles = {};  // 0 where there is no body
  std::array<double, 3> edge = {};       // quartiles of the outermost voxels
  double least = 0, most = 0;            // 0.5 and 99.5 % of the image
  double share = 0, dark = 0, at_top = 0, clipped_low = 0, clipped_high = 0, far_below = 0;
};

// Without the least value, where that is padding.
double share_below(const ValueCounts& all, double value) {
  const bool padded =
      static_cast<double>(all.counts.front()) >= kPadding * static_cast<double>(all.total);
  const ValueCounts rest = padded ? above(all, all.values.front()) : all;
  return rest.share_at_most(value) * static_cast<double>(rest.total) /
         static_cast<double>(all.total);
}

BodyNumbers body_numbers(const ChannelIntensities& channel, const Reference& reference,
                         const Window& window) {
  BodyNumbers numbers;
  const ValueCounts all = channel.all();
  ValueCounts body = above(all, reference.threshold);
  // Padding that is brighter than the threshold, such as the empty part of an MR volume.
  if (body.total == all.total && !body.values.empty() &&
      static_cast<double>(body.counts.front()) >= kPadding * static_cast<double>(body.total))
    body = above(body, body.values.front());
  if (window) {
    numbers.clipped_low = all.share_at_most(std::nextafter((*window)[0], -kInfinity));
    numbers.clipped_high = all.share_at_least(std::nextafter((*window)[1], kInfinity));
  }
  if (all.total == 0) return numbers;
  numbers.dark = all.share_at_most(reference.threshold);
  numbers.least = all.quantile(0.005);
  numbers.most = all.quantile(0.995);
  numbers.far_below = share_below(all, reference.far);
  for (std::size_t q = 0; q < 3 && channel.edge.total > 0; ++q)
    numbers.edge[q] = channel.edge.quantile(kQuartiles[q]);
  if (body.total == 0) return numbers;
  numbers.share = static_cast<double>(body.total) / static_cast<double>(all.total);
  numbers.at_top = body.share_at_least(reference.top);
  for (std::size_t q = 0; q < 3; ++q)
    numbers.quartiles[q] = clipped(body.quantile(kQuartiles[q]), window);
  return numbers;
}

Json channel_json(const std::vector<ChannelIntensities>& cases, const Window& window) {
  ChannelIntensities pooled;
  for (const ChannelIntensities& entry : cases) {
    pooled.inside = pooled.inside + entry.inside;
    pooled.outside = pooled.outside + entry.outside;
  }
  Json json = {{"inside", to_json(pooled.inside)}, {"outside", to_json(pooled.outside)}};
  const ValueCounts all = pooled.all();
  if (all.total == 0) return json;
  const double low = window ? (*window)[0] : all.quantile(0.001);
  const double high = window ? (*window)[1] : all.quantile(0.995);
  const double threshold = split_value(all, low, high);
  const ValueCounts body = above(all, threshold);
  const double bright = clipped(body.total > 0 ? body.quantile(0.95) : high, window);
  const double top = window ? high : body.total > 0 ? body.quantile(0.999) : high;
  const Reference reference{.threshold = threshold, .top = top};
  Json& found = json["body"];
  found = {{"threshold", threshold},
           {"top", reference.top},
           {"range", bright - threshold},
           {"least", all.quantile(0.001)}};
  const auto widen = [&](const char* key, double value) {
    if (!found.contains(key)) found[key] = {value, value};
    found[key] = {std::min(found[key][0].get<double>(), value),
                  std::max(found[key][1].get<double>(), value)};
  };
  std::vector<DarkEnd> dark;
  for (const ChannelIntensities& entry : cases) {
    const BodyNumbers numbers = body_numbers(entry, reference, window);
    for (std::size_t q = 0; q < 3; ++q)
      if (numbers.share > 0) widen(kQuartileNames[q], numbers.quartiles[q]);
    widen("share", numbers.share);
    widen("at_top", numbers.at_top);
    widen("clipped_low", numbers.clipped_low);
    widen("clipped_high", numbers.clipped_high);
    dark.push_back(dark_end(entry.all()));
  }
  if (const auto range = dark_range(dark))
    found["dark_end"] = {{"level", range->level}, {"span", range->span}};
  return json;
}

// One channel's numbers as they were in training.
struct Trained {
  explicit Trained(const Json& body) {
    range = body.at("range").get<double>();
    reference = {body.at("threshold").get<double>(), body.at("top").get<double>(),
                 body.at("least").get<double>() - range};
    for (std::size_t q = 0; q < 3; ++q) quartiles[q] = pair(body, kQuartileNames[q]);
    share = pair(body, "share");
    at_top = pair(body, "at_top");
    clipped_low = pair(body, "clipped_low");
    clipped_high = pair(body, "clipped_high");
    if (body.contains("dark_end"))  // else an older model's, or training's values show none
      dark = DarkRange{pair(body["dark_end"], "level"), pair(body["dark_end"], "span")};
  }
  static std::array<double, 2> pair(const Json& body, const char* key) {
    return body.at(key).get<std::array<double, 2>>();
  }

  Reference reference;
  double range = 0;
  std::array<std::array<double, 2>, 3> quartiles;
  std::array<double, 2> share, at_top, clipped_low, clipped_high;
  std::optional<DarkRange> dark;
};

// How far a quartile lies outside of what training showed, in ranges of the body; the sign says on
// which side.
double distance(double value, const std::array<double, 2>& seen, double range) {
  if (value < seen[0]) return (value - seen[0]) / range;
  return value > seen[1] ? (value - seen[1]) / range : 0;
}

// What is wrong with it, or nothing.
std::string fault_of(const BodyNumbers& found, const Trained& trained, const Window& window) {
  const double range = std::max(trained.range, std::numeric_limits<double>::min());
  const std::string threshold = text_of(trained.reference.threshold);
  if (clipped(found.most, window) - clipped(found.least, window) < kFlat * range)
    return "there is hardly any contrast";
  if (found.share * kFewTimesLess < trained.share[0])
    return percent(found.share) + " of the voxels are above " + threshold + ", in training " +
           percent(trained.share[0]) + " or more";
  if (found.at_top > kManyAtTop && found.at_top > 3 * trained.at_top[1])
    return percent(found.at_top) + " of the body (values above " + threshold + ") are at " +
           text_of(trained.reference.top) + " or more, in training " + percent(trained.at_top[1]) +
           " at most";
  std::array<double, 3> off{};
  for (std::size_t q = 0; q < 3; ++q)
    off[q] = distance(found.quartiles[q], trained.quartiles[q], range);
  const double median = off[1];
  const double beside = median < 0 ? std::min(off[0], off[2]) : std::max(off[0], off[2]);
  const bool one_side = median * beside > 0;
  if (one_side && std::abs(median) > kMedianMargin && std::abs(median + beside) > kMargin)
    return "the median of the body (values above " + threshold + ") is " +
           text_of(found.quartiles[1]) + ", in training " + text_of(trained.quartiles[1]);
  if (found.far_below > kFarBelow)
    return percent(found.far_below) + " of the voxels are below " + text_of(trained.reference.far) +
           ", far from anything in training";
  // Nothing is as dark as air, and still the body is surrounded by the dark end of the image.
  const bool no_dark = found.dark < kNoDark && trained.share[1] < 1 - kDarkShare;
  const double even = kEvenEdge * (found.most - found.least);
  if (!no_dark || found.edge[2] - found.edge[0] > even || found.edge[1] - found.least > even)
    return "";
  return "no voxel is below " + threshold + ", in training " + percent(1 - trained.share[1]) +
         " or more; what surrounds the body is at " + text_of(found.edge[1]);
}

std::string scale_fault(const ValueCounts& all, const Trained& trained) {
  if (!trained.dark) return "";
  const DarkEnd found = dark_end(all);
  const std::optional<double> factor = shrunk_by(found, *trained.dark);
  if (!factor) return "";
  return "the darkest voxels (air?) are at " + text_of(found.level) + ", in training at " +
         text_of(trained.dark->level) + ", and all values lie as if multiplied by " +
         text_of(std::round(100 * *factor) / 100);
}

Json numbers_json(const ValueCounts& all, const BodyNumbers& found) {
  Json json = to_json(all);
  json["body"] = {{"share", found.share}, {"at_top", found.at_top}};
  for (std::size_t q = 0; q < 3; ++q) json["body"][kQuartileNames[q]] = found.quartiles[q];
  json["clipped_low"] = found.clipped_low;
  json["clipped_high"] = found.clipped_high;
  return json;
}

std::string named(std::size_t channel, std::size_t channels) {
  return channels > 1 ? "channel " + std::to_string(channel) + ": " : "";
}

std::string window_fault(const ChannelIntensities& pooled, const std::array<double, 2>& window) {
  const std::string text = "[" + text_of(window[0]) + ", " + text_of(window[1]) + "]";
  const ValueCounts all = pooled.all();
  if (all.total == 0) return "";
  const auto below = [&](const ValueCounts& counts) { return counts.share_at_most(window[0]); };
  const auto beyond = [&](const ValueCounts& counts) { return counts.share_at_least(window[1]); };
  for (const bool high : {false, true}) {
    const double share = high ? beyond(pooled.inside) : below(pooled.inside);
    if (share > kMostForeground)
      return percent(share) + " of the labelled voxels are clipped to the " +
             (high ? "upper" : "lower") + " end of the window " + text + " (their median is " +
             text_of(pooled.inside.quantile(0.5)) + ")";
  }
  if (below(all) > kMostVolume || beyond(all) > kManyBright) {
    const bool high = beyond(all) > kManyBright;
    return percent(high ? beyond(all) : below(all)) + " of all voxels are clipped to the " +
           (high ? "upper" : "lower") + " end of the window " + text + " (their median is " +
           text_of(all.quantile(0.5)) + ")";
  }
  const double width = window[1] - window[0];
  const double low = std::clamp(all.quantile(0.005), window[0], window[1]);
  const double high = std::clamp(all.quantile(0.995), window[0], window[1]);
  if (high - low < kFlat * width || low - window[0] > kUnused * width)
    return "the values, " + text_of(all.quantile(0.005)) + " to " + text_of(all.quantile(0.995)) +
           ", take " + percent((high - low) / width) + " of the window " + text +
           ", and nothing lies in its lower " + percent((low - window[0]) / width);
  return "";
}

}  // namespace

Json describe_intensities(const std::vector<Intensities>& cases, const Window& window) {
  if (cases.empty()) return {};
  Json json = {{"cases", cases.size()},
               {"window", window ? Json(*window) : Json()},
               {"channels", Json::array()}};
  for (std::size_t c = 0; c < cases.front().size(); ++c) {
    std::vector<ChannelIntensities> channel;
    for (const Intensities& entry : cases)
      if (c < entry.size()) channel.push_back(entry[c]);
    json["channels"].push_back(channel_json(channel, window));
  }
  return json;
}

bool usable_intensities(const Json& trained, std::size_t channels) {
  try {
    const Json& list = trained.at("channels");
    for (const Json& channel : list) Trained(channel.at("body"));
    return list.is_array() && list.size() == channels;
  } catch (const nlohmann::json::exception&) {
    return false;
  }
}

IntensityFindings compare_intensities(const Intensities& image, const Json& trained,
                                      const Window& window) {
  IntensityFindings findings;
  if (!usable_intensities(trained, image.size())) return findings;
  findings.numbers = {{"channels", Json::array()}, {"warnings", Json::array()}};
  for (std::size_t c = 0; c < image.size(); ++c) {
    const Trained seen(trained.at("channels")[c].at("body"));
    const ValueCounts all = image[c].all();
    const BodyNumbers found = body_numbers(image[c], seen.reference, window);
    Json json = numbers_json(all, found);
    json["trained"] = trained.at("channels")[c].at("body");
    findings.numbers["channels"].push_back(std::move(json));
    std::string fault = fault_of(found, seen, window);
    if (fault.empty()) fault = scale_fault(all, seen);
    if (fault.empty()) continue;
    std::string text = named(c, image.size()) + fault;
    if (window)
      text += "; clipped by the window: " + percent(found.clipped_low) + " below, " +
              percent(found.clipped_high) + " above (in training " + percent(seen.clipped_low[1]) +
              " and " + percent(seen.clipped_high[1]) + " at most)";
    findings.warnings.push_back(text);
  }
  findings.numbers["warnings"] = findings.warnings;
  return findings;
}

std::vector<std::string> window_warnings(const std::vector<Intensities>& cases,
                                         const Window& window) {
  std::vector<std::string> warnings;
  if (!window || cases.empty()) return warnings;
  for (std::size_t c = 0; c < cases.front().size(); ++c) {
    ChannelIntensities pooled;
    for (const Intensities& entry : cases) {
      if (c >= entry.size()) continue;
      pooled.inside = pooled.inside + entry[c].inside;
      pooled.outside = pooled.outside + entry[c].outside;
    }
    const std::string fault = window_fault(pooled, *window);
    if (!fault.empty()) warnings.push_back(named(c, cases.front().size()) + fault);
  }
  return warnings;
}

}  // namespace lamp
