// Channels are put together on one grid; label values are counted run by run.
#include "lamp/dataset/case_volumes.h"

#include "lamp/volume/grid_difference.h"

namespace lamp {
namespace {

template <typename T>
void count_runs(const torch::Tensor& label, std::map<std::int64_t, std::int64_t>& counts) {
  const T* value = label.const_data_ptr<T>();
  const T* const end = value + label.numel();
  while (value != end) {  // label maps are long runs of one value
    const T* run = value;
    while (run != end && *run == *value) ++run;
    const auto number = static_cast<std::int64_t>(*value);
    const auto known = counts.find(number);
    if (known != counts.end())
      known->second += run - value;
    else if (counts.size() < kMostLabelValues)
      counts.emplace(number, run - value);
    value = run;
  }
}

}  // namespace

Volume read_channels(const std::vector<std::filesystem::path>& files, const ReadOptions& options) {
  TORCH_CHECK(!files.empty(), "an image of no file");
  Volume image = read_image(files.front(), options);
  if (files.size() == 1) return image;
  std::vector<torch::Tensor> channels = {image.voxels};
  for (std::size_t c = 1; c < files.size(); ++c) {
    const Volume next = read_image(files[c], options);
    check_same_grid({next.geometry, files[c]}, {image.geometry, files.front()},
                    "its first channel");
    channels.push_back(next.voxels);
  }
  image.voxels = torch::cat(channels, 0);
  return image;
}

Volume read_case_image(const Case& entry, const ReadOptions& options) {
  return read_channels(entry.images, options);
}

Volume read_case_label(const Case& entry, const Dataset& dataset, const ReadOptions& options) {
  TORCH_CHECK(!entry.label.empty(), "case ", entry.name, " has no label");
  Volume label = read_label(entry.label, options);
  const Geometry expected = read_volume_header(entry.images.front(), options).geometry;
  check_same_grid({label.geometry, entry.label}, {expected, entry.images.front()}, "its image");
  const std::string unknown = undeclared_values(count_values(label.voxels), dataset.labels);
  if (!unknown.empty())
    throw InputError({.file = entry.label.string(),
                      .what = "unknown label values",
                      .found = unknown,
                      .expected = "0 to " + std::to_string(dataset.labels.rbegin()->first) +
                                  " as " + dataset.file.string() + " declares",
                      .fix = "correct the label map or declare them"});
  return label;
}

std::map<std::int64_t, std::int64_t> count_values(const torch::Tensor& label) {
  const torch::Tensor values = label.contiguous();
  std::map<std::int64_t, std::int64_t> counts;
  switch (values.scalar_type()) {
    case torch::kUInt8:
      count_runs<std::uint8_t>(values, counts);
      break;
    case torch::kInt16:
      count_runs<std::int16_t>(values, counts);
      break;
    case torch::kInt32:
      count_runs<std::int32_t>(values, counts);
      break;
    case torch::kInt64:
      count_runs<std::int64_t>(values, counts);
      break;
    default:
      TORCH_CHECK(false, "count_values takes integers, not ", values.scalar_type());
  }
  return counts;
}

std::string undeclared_values(const std::map<std::int64_t, std::int64_t>& counts,
                              const std::map<int, std::string>& labels) {
  constexpr int kNamed = 8;
  std::string text;
  int unknown = 0;
  for (const auto& [value, voxels] : counts) {
    if (value >= 0 && value <= labels.rbegin()->first) continue;  // ids are consecutive
    if (++unknown > kNamed) continue;
    text += (text.empty() ? "" : ", ") + std::to_string(value) + " (" + std::to_string(voxels) +
            " voxels)";
  }
  if (unknown > kNamed) text += " and " + std::to_string(unknown - kNamed) + " other values";
  return text;
}

}  // namespace lamp
