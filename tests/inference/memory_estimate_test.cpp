// What is estimated from two small passes is what a large pass takes.
#include "lamp/inference/memory_estimate.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include "lamp/base/host_memory.h"
#include "lamp/base/memory_counter.h"
#include "lamp/base/size3.h"
#include "lamp/base/text.h"
#include "lamp/inference/predictor.h"
#include "lamp/nets/net_factory.h"

namespace lamp {
namespace {

const c10::Device kHost(c10::kCPU);

struct Setting {
  const char* net;
  std::int64_t width, depth;
  c10::ScalarType dtype;
  Size3 size;  // x, y, z
};

void PrintTo(const Setting& setting, std::ostream* out) {
  *out << setting.net << " " << setting.width << " " << setting.depth << " " << setting.dtype << " "
       << size_text(setting.size, "x");
}

class ForwardMemoryTest : public ::testing::TestWithParam<Setting> {};

TEST_P(ForwardMemoryTest, EstimateIsWithinFivePercentOfTheMeasuredPeak) {
  const Setting& setting = GetParam();
  count_cpu_memory();
  Network network = make_network(
      {.name = setting.net, .width = setting.width, .depth = setting.depth, .classes = 4});
  place_network(network, {.dtype = setting.dtype});
  const ForwardMemory memory(network, kHost, setting.dtype);
  const torch::Tensor image =
      torch::rand({1, 1, setting.size[2], setting.size[1], setting.size[0]});
  const Predictor predictor = make_predictor(network, kHost, setting.dtype);
  predictor(image);  // checks of reduced-precision kernels
  const std::int64_t before = allocated_bytes(kHost);
  reset_peak_bytes(kHost);
  predictor(image);
  const auto measured = static_cast<double>(peak_bytes(kHost) - before);
  const auto estimated = static_cast<double>(memory.bytes(setting.size));
  RecordProperty("measured_bytes", std::to_string(measured));
  EXPECT_NEAR(estimated / measured, 1, 0.05);
}

INSTANTIATE_TEST_SUITE_P(
    Networks, ForwardMemoryTest,
    ::testing::Values(Setting{"unet", 4, 2, torch::kFloat32, {72, 64, 80}},
                      Setting{"unet", 4, 1, torch::kBFloat16, {48, 64, 32}},
                      Setting{"unet", 4, 2, torch::kFloat32, {61, 75, 50}},  // padded to 64 80 56
                      Setting{"seunet", 4, 1, torch::kFloat32, {64, 80, 64}},
                      Setting{"anatomynet", 28, 1, torch::kFloat32, {48, 64, 32}}));

// The stage that holds the end of the network has neither the early skips nor what is in front.
TEST(ForwardMemoryStageTest, StagesTakeWhatTheirLinksTake) {
  Network network = make_network({.width = 8, .depth = 2, .classes = 3});
  place_network(network, {});
  const ForwardMemory memory(network, kHost, torch::kFloat32);
  const Size3 size = {64, 64, 64};
  const std::size_t links = network.chain->size();
  const std::int64_t whole = memory.bytes(size);
  EXPECT_EQ(memory.stage_bytes(size, {0, links}, 3), whole) << "no skip leaves a single stage";
  const StageRange first{0, links / 2}, last{links / 2, links};
  EXPECT_EQ(memory.stage_bytes(size, last, 0), memory.stage_bytes(size, last, 5));
  // Of the two skips the one of 8 channels and 32^3 voxels crosses the cut.
  const std::int64_t skip = 8 * 32 * 32 * 32 * 4;
  EXPECT_EQ(memory.stage_bytes(size, first, 2) - memory.stage_bytes(size, first, 0), 2 * skip);
  EXPECT_LE(memory.stage_bytes(size, last, 0), whole);
  EXPECT_LT(memory.stage_bytes(size, {links / 2, links / 2 + 1}, 0), whole - skip);
}

TEST(ForwardMemoryTest, TwiceTheVolumeTakesItsLogitsMoreAndAtMostTwiceAsMuch) {
  Network network = make_network({.width = 4, .depth = 2, .classes = 3});
  network.chain->eval();
  const ForwardMemory memory(network, kHost, torch::kFloat32);
  const std::int64_t small = memory.bytes({64, 64, 64}), large = memory.bytes({128, 64, 64});
  EXPECT_GT(small, 64 * 64 * 64 * 4 * 3);
  EXPECT_GT(large, small + 64 * 64 * 64 * 4 * 3);
  EXPECT_LE(large, 2 * small);
}

TEST(HostMemoryTest, AShortageIsOfWhatIsGivenOrOfWhatThereIs) {
  constexpr double kMebibyte = 1 << 20;
  EXPECT_FALSE(memory_shortage(kMebibyte, std::nullopt));
  EXPECT_FALSE(memory_shortage(kMebibyte, 1 << 20));
  const auto given = memory_shortage(3 * kMebibyte, 1 << 20);
  ASSERT_TRUE(given);
  EXPECT_TRUE(given->limited);
  EXPECT_EQ(given->needed, "3.0 MiB");
  EXPECT_EQ(given->left, "1.0 MiB of the given memory are left");
  // More is given than there is: 2^60 bytes.
  for (const auto& limit : {std::optional<std::int64_t>(), std::optional(std::int64_t{1} << 60)}) {
    const auto there = memory_shortage(0x1p59, limit);
    ASSERT_TRUE(there);
    EXPECT_FALSE(there->limited);
    EXPECT_NE(there->left.find(" are available"), std::string::npos) << there->left;
  }
  EXPECT_TRUE(memory_shortage(1e300, std::nullopt));
}

TEST(HostMemoryTest, NumbersAreThoseOfThisProcess) {
  const std::int64_t before = resident_bytes();
  EXPECT_GT(before, 10 << 20);
  EXPECT_GT(available_memory_bytes(), 0);
  reset_peak_resident_bytes();
  const std::int64_t low = peak_resident_bytes();
  { const torch::Tensor block = torch::ones({64 << 20}, torch::kUInt8); }
  EXPECT_GT(peak_resident_bytes(), low + (60 << 20));
}

}  // namespace
}  // namespace lamp
