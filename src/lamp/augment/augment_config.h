// The configuration's "augment": a preset, and parts by name that replace the preset's.
#pragma once

#include <array>
#include <map>
#include <string>
#include <vector>

#include "lamp/base/json.h"

namespace lamp {

// Every part is drawn anew for each patch and takes part with its probability. The defaults are the
// paper's values where it has any, so that naming a part is enough to use it.

// Mirrors each of the listed axes, each by a draw of its own.
struct FlipConfig {
  double probability = 0;
  std::array<bool, 3> axes = {true, true, false};  // x, y, z
  bool operator==(const FlipConfig&) const = default;
};

// 90, 180 or 270 degrees in the x-y plane, alike; only 180 where the patch is not square there.
struct Rotate90Config {
  double probability = 0;
  bool operator==(const Rotate90Config&) const = default;
};

// Each of the three rotations, six shears, three shifts and three scales is drawn evenly from
// -limit to +limit. In voxels: a patch does not know its spacing (nor did the paper's code).
struct AffineConfig {
  double probability = 0;
  double rotation_degrees = 15;
  double shear_degrees = 10;
  double translation = 0.05;  // of the patch's size along the axis
  double scale = 0.2;
  bool operator==(const AffineConfig&) const = default;
};

// A field of white noise (evenly in [-1, 1]) smoothed by a Gaussian and multiplied by the
// magnitude. The typical displacement, by the formula in elastic.h, is 3.3 voxels
// for 10 and 1200, 0.15 for 50 and 600.
struct ElasticConfig {
  double probability = 0;
  std::array<double, 2> sigma_voxels = {10, 50};
  std::array<double, 2> magnitude = {600, 1200};
  bool operator==(const ElasticConfig&) const = default;
};

// image * (1 + a) + b, with a in [-scale, scale] and b in [-shift, shift].
struct IntensityConfig {
  double probability = 0;
  double shift = 0.1;
  double scale = 0.1;
  bool operator==(const IntensityConfig&) const = default;
};

// Added to every voxel alone: evenly in [-amplitude, amplitude], or normal with that standard
// deviation.
struct NoiseConfig {
  double probability = 0;
  bool gaussian = false;  // "kind": "uniform" | "gaussian"
  double amplitude = 0.2;
  bool operator==(const NoiseConfig&) const = default;
};

// Values are mapped to [0, 1] by the least and largest that a scan showed in the patch, raised to a
// power drawn from `range`, and mapped back. Half the draws are below 1 where the range spans it.
struct GammaConfig {
  double probability = 0;
  std::array<double, 2> range = {0.7, 1.5};
  bool operator==(const GammaConfig&) const = default;
};

struct AugmentConfig {
  FlipConfig flip;
  Rotate90Config rotate90;
  AffineConfig affine;
  ElasticConfig elastic;
  IntensityConfig intensity;
  GammaConfig gamma;
  NoiseConfig noise;
  bool operator==(const AugmentConfig&) const = default;
};

// The probability of a part that is named without one and that the preset leaves off.
inline constexpr double kNamedPartProbability = 0.5;

// "none"; "han": affine and elastic deformation at 0.8, the released code's numbers; "liver": flips
// and 90-degree turns in the x-y plane at 0.1, uniform noise of 0.2 always (the paper's section 4).
// Null = none. Throws UsageError.
AugmentConfig parse_augment_config(const Json& json);
// Every part in full: parses to the same configuration.
Json to_json(const AugmentConfig& config);

// The axes (0 = x, 1 = y, 2 = z) that patches are mirrored along, each by itself.
std::vector<int> mirrored_axes(const AugmentConfig& config);

// Throws UsageError that names the label if patches would be mirrored and a label of one side has
// no twin to be exchanged with (see sided_labels.h).
void check_augment(const AugmentConfig& config, const std::map<int, std::string>& labels);

}  // namespace lamp
