// The steps of preparation, each exact or named: reorder axes, resample, window.
#include "lamp/data/preprocess.h"

#include <torch/torch.h>

#include "lamp/base/errors.h"
#include "lamp/data/resample.h"

namespace lamp {
namespace {

template <std::size_t N>
std::optional<std::array<double, N>> numbers_or_keep(ObjectReader& reader, const std::string& key,
                                                     bool positive) {
  const Json& found = reader.at(key);
  if (found.is_null() || found == "keep") return std::nullopt;
  const std::string expected =
      std::to_string(N) + (positive ? " positive numbers or \"keep\"" : " numbers or null");
  if (!found.is_array() || found.size() != N) throw_wrong_type(reader.where(key), found, expected);
  std::array<double, N> values{};
  for (std::size_t i = 0; i < N; ++i) {
    if (!found[i].is_number() || (positive && !(found[i].get<double>() > 0)))
      throw_wrong_type(reader.where(key), found, expected);
    values[i] = found[i].get<double>();
  }
  return values;
}

bool close(const Geometry& a, const Geometry& b) { return corner_distance_voxels(a, b) < 1e-6; }

// Slice after slice: argmax gives 8 bytes a voxel, which would weigh more than the labels and the
// image together.
torch::Tensor argmax_of(const torch::Tensor& scores) {
  const auto type = scores.size(0) <= 256 ? torch::kUInt8 : torch::kInt16;
  torch::Tensor labels = torch::empty(scores.sizes().slice(1), type);
  for (std::int64_t z = 0; z < scores.size(1); ++z) labels[z].copy_(scores.select(1, z).argmax(0));
  return labels;
}

}  // namespace

DataConfig parse_data_config(const Json& json) {
  ObjectReader reader(json, "data");
  DataConfig config;
  config.spacing_mm = numbers_or_keep<3>(reader, "spacing_mm", true);
  config.window = numbers_or_keep<2>(reader, "window", false);
  if (config.window && (*config.window)[0] >= (*config.window)[1])
    throw_wrong_type(reader.where("window"), reader.at("window"),
                     "[low, high] with low below high");
  config.to_lps = reader.choice("orientation", "LPS", {"LPS", "keep"}) == "LPS";
  config.resample_sheared = reader.choice("shear", "refuse", {"refuse", "resample"}) == "resample";
  config.cubic = reader.choice("interpolation", "linear", {"linear", "cubic"}) == "cubic";
  config.nifti_form =
      parse_nifti_form(reader.choice("nifti_form", "refuse", {"refuse", "sform", "qform"}));
  reader.finish();
  return config;
}

Json to_json(const DataConfig& config) {
  Json json;
  json["spacing_mm"] = config.spacing_mm ? Json(*config.spacing_mm) : Json("keep");
  json["window"] = config.window ? Json(*config.window) : Json();
  json["orientation"] = config.to_lps ? "LPS" : "keep";
  json["shear"] = config.resample_sheared ? "resample" : "refuse";
  json["interpolation"] = config.cubic ? "cubic" : "linear";
  json["nifti_form"] = name_of(config.nifti_form);
  return json;
}

bool GridPath::resampled() const { return !close(canonical, network); }

GridPath plan_grid(const Volume& volume, const DataConfig& config) {
  GridPath path{.input = volume.geometry, .nifti_space = volume.nifti_space};
  path.axes =
      config.to_lps ? canonical_axes(volume.geometry) : AxisMap{{0, 1, 2}, {false, false, false}};
  path.canonical = reorient(volume.geometry, path.axes);
  path.network = config.resample_sheared ? orthonormal_cover(path.canonical) : path.canonical;
  if (config.spacing_mm) path.network = with_spacing(path.network, *config.spacing_mm);
  return path;
}

PreparedImage prepare_image(const Volume& image, const DataConfig& config) {
  PreparedImage prepared = place_image(image, config);
  if (config.window) prepared.voxels = apply_window(prepared.voxels, *config.window);
  prepared.voxels = prepared.voxels.contiguous();
  return prepared;
}

PreparedImage place_image(const Volume& image, const DataConfig& config) {
  PreparedImage prepared{.path = plan_grid(image, config)};
  prepared.voxels = reorient(image.voxels.to(torch::kFloat32), prepared.path.axes);
  if (prepared.path.resampled()) {
    prepared.voxels = resample(prepared.voxels, prepared.path.canonical, prepared.path.network,
                               config.cubic ? Interpolation::kCubic : Interpolation::kLinear);
  }
  return prepared;
}

torch::Tensor apply_window(const torch::Tensor& values, const std::array<double, 2>& window) {
  const auto [low, high] = window;
  return values.clamp(low, high).sub_(low).div_(high - low);
}

torch::Tensor prepare_label(const Volume& label, const GridPath& path) {
  torch::Tensor voxels = reorient(label.voxels, path.axes);
  if (path.resampled())
    voxels = resample(voxels, path.canonical, path.network, Interpolation::kLabel);
  return voxels[0].contiguous();
}

Volume labels_on_input_grid(const torch::Tensor& scores, const GridPath& path) {
  torch::Tensor labels =
      path.resampled() ? resample_argmax(scores, path.network, path.canonical) : argmax_of(scores);
  labels = reorient(labels.unsqueeze(0), inverse(path.axes)).contiguous();
  return {.geometry = path.input, .voxels = labels, .nifti_space = path.nifti_space};
}

Volume probabilities_on_input_grid(const torch::Tensor& scores, const GridPath& path) {
  torch::Tensor probabilities = scores.to(torch::kFloat32).softmax(0);
  if (path.resampled())
    probabilities = resample(probabilities, path.network, path.canonical, Interpolation::kLinear);
  probabilities = reorient(probabilities, inverse(path.axes)).contiguous();
  return {.geometry = path.input, .voxels = probabilities, .nifti_space = path.nifti_space};
}

}  // namespace lamp
