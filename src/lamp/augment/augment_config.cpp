// From JSON to the parts and back.
#include "lamp/augment/augment_config.h"

#include "lamp/base/errors.h"
#include "lamp/base/text.h"
#include "lamp/dataset/sided_labels.h"

namespace lamp {
namespace {

struct Limits {
  double low = 0, high = 0;
  std::string text() const { return shortest(low) + " to " + shortest(high); }
  bool holds(double value) const { return value >= low && value <= high; }  // false for NaN
};

constexpr Limits kProbability = {0, 1};
constexpr Limits kAnyAmount = {0, 1e6};

double number(ObjectReader& reader, const std::string& key, double fallback, const Limits& limits) {
  const double value = reader.get<double>(key, fallback);
  if (!limits.holds(value))
    throw_wrong_type(reader.where(key), reader.at(key), "a number from " + limits.text());
  return value;
}

std::array<double, 2> range(ObjectReader& reader, const std::string& key,
                            const std::array<double, 2>& fallback, const Limits& limits) {
  const Json& found = reader.at(key);
  if (found.is_null()) return fallback;
  const bool pair =
      found.is_array() && found.size() == 2 && found[0].is_number() && found[1].is_number();
  const auto value = pair ? found.get<std::array<double, 2>>() : std::array<double, 2>{1, 0};
  if (!limits.holds(value[0]) || !limits.holds(value[1]) || value[0] > value[1])
    throw_wrong_type(reader.where(key), found, "[low, high] within " + limits.text());
  return value;
}

void read_members(ObjectReader& reader, FlipConfig& flip) {
  const Json& axes = reader.at("axes");
  if (axes.is_null()) return;
  const std::string expected = "a list of axes such as [\"x\", \"y\"]";
  if (!axes.is_array() || axes.empty()) throw_wrong_type(reader.where("axes"), axes, expected);
  flip.axes = {false, false, false};
  for (const Json& axis : axes) {
    if (axis != "x" && axis != "y" && axis != "z")
      throw_wrong_type(reader.where("axes"), axes, expected);
    flip.axes[static_cast<std::size_t>(axis.get<std::string>()[0] - 'x')] = true;
  }
}

void read_members(ObjectReader&, Rotate90Config&) {}

void read_members(ObjectReader& reader, AffineConfig& affine) {
  affine.rotation_degrees = number(reader, "rotation_degrees", affine.rotation_degrees, {0, 180});
  affine.shear_degrees = number(reader, "shear_degrees", affine.shear_degrees, {0, 60});
  affine.translation = number(reader, "translation", affine.translation, {0, 1});
  affine.scale = number(reader, "scale", affine.scale, {0, 0.9});
}

void read_members(ObjectReader& reader, ElasticConfig& elastic) {
  elastic.sigma_voxels = range(reader, "sigma_voxels", elastic.sigma_voxels, {1, 1e4});
  elastic.magnitude = range(reader, "magnitude", elastic.magnitude, kAnyAmount);
}

void read_members(ObjectReader& reader, IntensityConfig& intensity) {
  intensity.shift = number(reader, "shift", intensity.shift, kAnyAmount);
  intensity.scale = number(reader, "scale", intensity.scale, {0, 1});
}

void read_members(ObjectReader& reader, NoiseConfig& noise) {
  const std::string kind = noise.gaussian ? "gaussian" : "uniform";
  noise.gaussian = reader.choice("kind", kind, {"uniform", "gaussian"}) == "gaussian";
  noise.amplitude = number(reader, "amplitude", noise.amplitude, kAnyAmount);
}

void read_members(ObjectReader& reader, GammaConfig& gamma) {
  gamma.range = range(reader, "range", gamma.range, {0.01, 100});
}

template <typename Part>
void read_part(ObjectReader& augment, const std::string& key, Part& part) {
  const Json& json = augment.at(key);
  if (json.is_null()) return;
  ObjectReader reader(json, augment.where(key));
  const double unnamed = part.probability > 0 ? part.probability : kNamedPartProbability;
  part.probability = number(reader, "probability", unnamed, kProbability);
  read_members(reader, part);
  reader.finish();
}

AugmentConfig preset(const std::string& name) {
  AugmentConfig config;
  if (name == "han") config.affine.probability = config.elastic.probability = 0.8;
  if (name == "liver") {
    config.flip.probability = config.rotate90.probability = 0.1;
    config.noise.probability = 1;
  }
  return config;
}

}  // namespace

AugmentConfig parse_augment_config(const Json& json) {
  ObjectReader reader(json, "augment");
  AugmentConfig config = preset(reader.choice("preset", "none", {"none", "han", "liver"}));
  read_part(reader, "flip", config.flip);
  read_part(reader, "rotate90", config.rotate90);
  read_part(reader, "affine", config.affine);
  read_part(reader, "elastic", config.elastic);
  read_part(reader, "intensity", config.intensity);
  read_part(reader, "gamma", config.gamma);
  read_part(reader, "noise", config.noise);
  reader.finish();
  return config;
}

Json to_json(const AugmentConfig& config) {
  Json axes = Json::array();
  for (int axis = 0; axis < 3; ++axis)
    if (config.flip.axes[static_cast<std::size_t>(axis)])
      axes.push_back(std::string(1, static_cast<char>('x' + axis)));
  Json json;
  json["flip"] = {{"probability", config.flip.probability}, {"axes", axes}};
  json["rotate90"] = {{"probability", config.rotate90.probability}};
  json["affine"] = {{"probability", config.affine.probability},
                    {"rotation_degrees", config.affine.rotation_degrees},
                    {"shear_degrees", config.affine.shear_degrees},
                    {"translation", config.affine.translation},
                    {"scale", config.affine.scale}};
  json["elastic"] = {{"probability", config.elastic.probability},
                     {"sigma_voxels", config.elastic.sigma_voxels},
                     {"magnitude", config.elastic.magnitude}};
  json["intensity"] = {{"probability", config.intensity.probability},
                       {"shift", config.intensity.shift},
                       {"scale", config.intensity.scale}};
  json["gamma"] = {{"probability", config.gamma.probability}, {"range", config.gamma.range}};
  json["noise"] = {{"probability", config.noise.probability},
                   {"kind", config.noise.gaussian ? "gaussian" : "uniform"},
                   {"amplitude", config.noise.amplitude}};
  return json;
}

std::vector<int> mirrored_axes(const AugmentConfig& config) {
  std::vector<int> axes;
  for (int axis = 0; axis < 3; ++axis)
    if (config.flip.probability > 0 && config.flip.axes[static_cast<std::size_t>(axis)])
      axes.push_back(axis);
  return axes;
}

void check_augment(const AugmentConfig& config, const std::map<int, std::string>& labels) {
  if (config.flip.probability <= 0) return;
  for (const auto& [id, name] : labels_without_twin(labels)) {
    throw UsageError("configuration: augment.flip: label " + std::to_string(id) + " \"" + name +
                     "\" names a side, but there is no \"" + mirrored_name(name) +
                     "\" to exchange it with in mirrored patches; rename the label or set "
                     "augment.flip.probability to 0");
  }
}

}  // namespace lamp
