// What the tests of segment_all share: a small random network, an image whose axes are turned, a
// folder.
#pragma once

#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "lamp/base/errors.h"
#include "lamp/inference/segmenter.h"
#include "lamp/nets/net_factory.h"
#include "support/temporary_folder.h"

namespace lamp::testing {

inline SegmentModel small_model(const Json& data, std::uint64_t seed = 1,
                                std::int64_t channels = 1) {
  SegmentModel model{.file = "small.safetensors",
                     .model = {.network = make_network(
                                   {.width = 4, .depth = 1, .in_channels = channels, .classes = 3}),
                               .labels = {{0, "background"}, {1, "liver"}, {2, "tumour"}},
                               .data = data}};
  model.model.network.initialise(seed);
  model.model.network.chain->eval();
  return model;
}

inline const Json kKeep = {{"spacing_mm", "keep"}, {"window", nullptr}};
inline const Json kOneMillimetre = {{"spacing_mm", {1, 1, 1}}, {"window", {-1, 1}}};

// Axes turned by 20 degrees, with an axis order and signs that are not LPS.
inline Volume oblique_volume(int seed = 0) {
  torch::manual_seed(seed);
  Volume volume;
  volume.geometry.size = {20, 17, 11};
  volume.geometry.spacing_mm = {0.9, 1.3, 2.5};
  volume.geometry.origin_mm = {-31.5, 12.25, 700.125};
  const double c = std::cos(0.35), s = std::sin(0.35);
  volume.geometry.direction = {0, -c, s, 0, -s, -c, 1, 0, 0};
  const torch::Tensor coarse = torch::randn({1, 1, 4, 5, 6});
  volume.voxels = torch::upsample_trilinear3d(coarse, {11, 17, 20}, false)[0].contiguous();
  return volume;
}

// Nothing has to be estimated for a window that is given, which saves the tests time.
inline const SegmentOptions kWindows{.patch = {.kind = PatchRequest::kFixed, .size = {24, 24, 16}}};

class SegmenterTest : public ::testing::Test {
 protected:
  SegmentReport segment(const SegmentModel& model, const std::vector<std::string>& inputs,
                        const SegmentOptions& options = kWindows) {
    return segment_all({model}, {.inputs = inputs, .output = out_, .options = options});
  }
  std::string image(const std::string& name, int seed = 0) {
    write_volume(folder_ / name, oblique_volume(seed));
    return (folder_ / name).string();
  }
  int exit_code(const SegmentReport& report) {
    try {
      report.throw_if_failed();
    } catch (const Error& error) {
      return error.exit_code();
    }
    return 0;
  }

  TemporaryFolder folder_;
  std::filesystem::path out_ = folder_ / "out";
};

}  // namespace lamp::testing
