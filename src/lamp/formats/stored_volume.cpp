// Header, size, memory, then voxels: in this order nothing is believed before it is judged.
#include "lamp/formats/stored_volume.h"

#include <utility>

#include "lamp/base/text.h"
#include "lamp/formats/meta_image.h"
#include "lamp/formats/nrrd.h"
#include "lamp/formats/stored_data.h"
#include "lamp/volume/grid_check.h"

namespace lamp {
namespace {

bool is_nrrd(const std::filesystem::path& path) {
  return lower(path.extension().string()).starts_with(".n");
}

StoredVolume parse_header(const std::filesystem::path& path) {
  return is_nrrd(path) ? parse_nrrd(path) : parse_meta_image(path);
}

}  // namespace

RawVolume read_stored_volume(const std::filesystem::path& path, const ReadOptions& options) {
  StoredVolume stored = parse_header(path);
  const std::int64_t found = check_stored_size(stored.data, path);
  RawVolume& volume = stored.volume;
  check_grid(volume.geometry, options, path.string());
  const bool packed = stored.data.encoding != Encoding::kRaw;
  check_fits_memory(volume, packed ? found : 0, options, path.string());
  volume.bytes = read_stored_data(stored.data, path);
  return std::move(volume);
}

VolumeHeader read_stored_volume_header(const std::filesystem::path& path,
                                       const ReadOptions& options) {
  StoredVolume stored = parse_header(path);
  check_stored_size(stored.data, path);
  check_grid(stored.volume.geometry, options, path.string());
  return {stored.volume.geometry, stored.volume.channels};
}

std::filesystem::path voxel_file(const std::filesystem::path& path) {
  return is_nrrd(path) ? nrrd_data_file(path) : meta_data_file(path);
}

}  // namespace lamp
