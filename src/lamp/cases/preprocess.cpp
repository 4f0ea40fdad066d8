// The steps of preparation, each exact or named: reorder axes, resample, window.
#include "lamp/cases/preprocess.h"

#include <torch/utils.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "lamp/base/errors.h"
#include "lamp/base/host_memory.h"
#include "lamp/base/text.h"
#include "lamp/volume/grid_check.h"
#include "lamp/volume/resample.h"

namespace lamp {
namespace {

constexpr double kMostValue = 1e30;  // which float32 holds with room to compute

bool usable(const Json& number, bool positive) {
  if (!number.is_number()) return false;
  const auto value = number.get<double>();  // comparisons are false for NaN
  return positive ? value >= kLeastSpacingMm && value <= kMostSpacingMm
                  : std::abs(value) <= kMostValue;
}

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
    if (!usable(found[i], positive)) throw_wrong_type(reader.where(key), found, expected);
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

// Changes a slice of probabilities [C, H, W] as little as possible so that its argmax, the lower
// class of equals, is `classes` [H, W].
void make_argmax(torch::Tensor probabilities, const torch::Tensor& classes) {
  const torch::Tensor wanted = classes.to(torch::kInt64).contiguous();
  const torch::Tensor found = probabilities.argmax(0).contiguous();
  auto p = probabilities.accessor<float, 3>();
  const auto w = wanted.accessor<std::int64_t, 2>(), f = found.accessor<std::int64_t, 2>();
  for (std::int64_t y = 0; y < wanted.size(0); ++y) {
    for (std::int64_t x = 0; x < wanted.size(1); ++x) {
      const std::int64_t chosen = w[y][x];
      if (chosen == f[y][x]) continue;
      std::swap(p[chosen][y][x], p[f[y][x]][y][x]);
      for (std::int64_t c = 0; c < chosen; ++c)  // a lower class that is its equal would win
        if (p[c][y][x] >= p[chosen][y][x]) p[chosen][y][x] = std::nextafter(p[c][y][x], 2.0F);
    }
  }
}

// Twice: some axes are resampled after others.
void check_grid_fits(const Geometry& grid, std::int64_t channels,
                     std::optional<std::int64_t> memory_bytes) {
  double needed = 2 * sizeof(float) * static_cast<double>(channels);
  for (const std::int64_t length : grid.size) needed *= static_cast<double>(length);
  const auto shortage = memory_shortage(needed, memory_bytes);
  if (!shortage) return;
  throw DoesNotFit("does not fit: on the network's grid the image has " +
                   size_text(grid.size, "x") + " voxels, which take " + shortage->needed +
                   ", but " + shortage->left + "; use a network of a coarser spacing_mm, or crop " +
                   "the image");
}

}  // namespace

DataConfig parse_data_config(const Json& json) {
  ObjectReader reader(json, "data");
  DataConfig config;
  config.spacing_mm = numbers_or_keep<3>(reader, "spacing_mm", true);
  config.window = numbers_or_keep<2>(reader, "window", false);
  // As float32, in which values are mapped.
  if (config.window &&
      !(static_cast<float>((*config.window)[0]) < static_cast<float>((*config.window)[1])))
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
  apply_window(prepared, config);
  return prepared;
}

void apply_window(PreparedImage& image, const DataConfig& config) {
  if (config.window) image.voxels = apply_window(image.voxels, *config.window);
  image.voxels = image.voxels.contiguous();
}

PreparedImage place_image(const Volume& image, const DataConfig& config,
                          std::optional<std::int64_t> memory_bytes) {
  PreparedImage prepared{.path = plan_grid(image, config)};
  if (prepared.path.resampled())
    check_grid_fits(prepared.path.network, image.voxels.size(0), memory_bytes);
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
  return mark_beyond(voxels[0], path.canonical, path.network).contiguous();
}

Volume labels_on_input_grid(const torch::Tensor& scores, const GridPath& path) {
  torch::Tensor labels =
      path.resampled() ? resample_argmax(scores, path.network, path.canonical) : argmax_of(scores);
  labels = reorient(labels.unsqueeze(0), inverse(path.axes)).contiguous();
  return {.geometry = path.input, .voxels = labels, .nifti_space = path.nifti_space};
}

Volume probabilities_on_input_grid(const torch::Tensor& scores, const GridPath& path,
                                   const torch::Tensor& classes) {
  const torch::NoGradGuard no_grad;
  torch::Tensor probabilities = path.resampled()
                                    ? resample_softmax(scores, path.network, path.canonical)
                                    : scores.cpu().to(torch::kFloat32).softmax(0);
  probabilities = reorient(probabilities, inverse(path.axes)).contiguous();
  TORCH_CHECK(classes.dim() == 4 && classes.size(0) == 1 &&
                  classes.sizes().slice(1) == probabilities.sizes().slice(1),
              "a map of ", classes.sizes(), " for probabilities of ", probabilities.sizes());
  for (std::int64_t z = 0; z < classes.size(1); ++z)
    make_argmax(probabilities.select(1, z), classes[0][z]);
  return {.geometry = path.input, .voxels = probabilities, .nifti_space = path.nifti_space};
}

}  // namespace lamp
