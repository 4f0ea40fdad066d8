// Header and voxels, each form of its place, labels, and what training makes of it.
#include "fuzz/image_readers.h"

#include <algorithm>
#include <cstdint>

#include "lamp/cases/preprocess.h"
#include "lamp/formats/volume_io.h"
#include "lamp/formats/volume_mark.h"

namespace lamp::fuzz {
namespace fs = std::filesystem;
namespace {

void read_as_image(const fs::path& path) {
  const Volume image = read_image(path, {.refuse_nan = false});
  const VolumeHeader header = read_volume_header(path);
  if (header.geometry.size != image.geometry.size || header.channels != image.voxels.size(0))
    throw Contradiction("header and image differ in size");
  if (corner_distance_voxels(header.geometry, image.geometry) > 1e-6)
    throw Contradiction("header and image lie at different places");
}

void read_every_form(const fs::path& path) {
  for (const NiftiForm form : {NiftiForm::kSform, NiftiForm::kQform})
    read_image(path, {.allow_shear = true, .nifti_form = form});
}

// What training and segmenting make of an image, where that is no larger than some voxels.
void place(const fs::path& path) {
  constexpr std::int64_t kMostVoxels = std::int64_t{1} << 17;
  const DataConfig data{.spacing_mm = {{1, 2, 3}}, .resample_sheared = true};
  const Volume image = read_image(path, data.read_options());
  const GridPath grid = plan_grid(image, data);
  if (std::max(image.voxels.numel(), grid.network.voxels()) <= kMostVoxels)
    place_image(image, data);
}

}  // namespace

std::vector<std::pair<std::string, FuzzFormat::Reader>> image_readers(
    const std::function<fs::path(const fs::path&)>& path_in) {
  return {{"header", [=](const fs::path& folder) { read_volume_header(path_in(folder)); }},
          {"image", [=](const fs::path& folder) { read_as_image(path_in(folder)); }},
          {"any form", [=](const fs::path& folder) { read_every_form(path_in(folder)); }},
          {"label", [=](const fs::path& folder) { read_label(path_in(folder)); }},
          {"network's grid", [=](const fs::path& folder) { place(path_in(folder)); }},
          {"seal", [=](const fs::path& folder) { own_volume("lamp segment")(path_in(folder)); }}};
}

}  // namespace lamp::fuzz
