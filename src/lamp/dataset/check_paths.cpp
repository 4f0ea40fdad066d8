// What the names mean is looked up here, what lies there is dataset_check.h's business.
#include "lamp/dataset/check_paths.h"

#include <iterator>

#include "lamp/base/errors.h"
#include "lamp/base/setting_name.h"
#include "lamp/base/text.h"

namespace lamp {

CheckReport check_paths(const std::vector<std::string>& paths, const ReadOptions& read,
                        const std::filesystem::path& preview, const ImageObserver& observer) {
  std::vector<std::filesystem::path> images;
  std::vector<std::filesystem::path> datasets;
  for (const std::string& path : paths) {
    if (path.empty())
      throw UsageError("check: found an empty name, expected a data set, an image or a folder");
    (looks_like_dataset(path) ? datasets : images).emplace_back(path);
  }
  if (datasets.empty()) return check_images(images, read, preview);
  if (!read.dicom_series.empty())
    throw UsageError("check: " + setting_name("series") +
                     " goes with DICOM folders, found the data set " + datasets.front().string());
  if (datasets.size() == 1 && images.empty())
    return check_dataset(datasets.front(),
                         {.read = read, .preview = preview, .observer = observer});
  throw UsageError("check: found " + counted(std::ssize(datasets), "data set") + " and " +
                   counted(std::ssize(images), "image") +
                   ", expected one data set or images only; run it on each");
}

void throw_if_faulty(const CheckReport& report) {
  if (report.ok()) return;
  const std::int64_t others = std::ssize(report.faults) - 1;
  throw Error(message_of(report.faults.front()) +
                  (others > 0 ? " (and " + counted(others, "more fault") + ")" : ""),
              kExitInput);
}

}  // namespace lamp
