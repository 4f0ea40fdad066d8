// Which files belong, how they are stacked and what their voxels are is each a file of its own.
#include "lamp/formats/dicom_series.h"

#include <utility>
#include <vector>

#include "lamp/formats/dicom_codec.h"
#include "lamp/formats/dicom_folder.h"
#include "lamp/formats/dicom_pixels.h"
#include "lamp/formats/dicom_stack.h"
#include "lamp/volume/grid_check.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

std::pair<std::vector<DicomSlice>, Geometry> read_stack(const fs::path& folder,
                                                        const ReadOptions& options) {
  DicomFolder content = read_dicom_folder(folder, options.dicom_series);
  refuse_faults(content);
  Geometry grid = stack_slices(content.slices, folder);
  check_grid(grid, options, folder.string());
  return {std::move(content.slices), grid};
}

}  // namespace

RawVolume read_dicom(const fs::path& folder, const ReadOptions& options) {
  const auto [slices, grid] = read_stack(folder, options);
  RawVolume raw{.geometry = grid, .type = VoxelType::kFloat32};
  check_fits_memory(raw, 0, options, folder.string());
  DicomCodec codec;
  for (const DicomSlice& slice : slices)
    raw.bytes += read_dicom_pixels(slice.file, slice.plane, codec);
  return raw;
}

VolumeHeader read_dicom_header(const fs::path& folder, const ReadOptions& options) {
  return {read_stack(folder, options).second, 1};
}

}  // namespace lamp
