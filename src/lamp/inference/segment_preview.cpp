// What is drawn, and what is no longer true.
#include "lamp/inference/segment_preview.h"

#include <system_error>

#include "lamp/base/log.h"
#include "lamp/preview/png.h"

namespace lamp {
namespace fs = std::filesystem;

std::string segment_png(const std::string& name, const GreyImage& image, const Volume& labels,
                        const std::map<int, std::string>& names) {
  CaseMaps maps{
      .name = name, .geometry = labels.geometry, .image = &image, .result = labels.voxels[0]};
  maps.names.insert(names.begin(), names.end());
  return case_png(maps);
}

void remove_older_preview(const fs::path& file) {
  std::error_code error;
  if (fs::is_regular_file(fs::symlink_status(file, error)) && own_png()(file) &&
      fs::remove(file, error))
    log_info(file.string() + ": the picture of an earlier call is removed");
}

}  // namespace lamp
