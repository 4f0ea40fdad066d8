// A batch is a function of its step, whatever the number of threads and wherever its cases come
// from.
#include "lamp/training/batch_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cstdlib>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "lamp/base/size3.h"
#include "support/ball_dataset.h"
#include "support/temporary_folder.h"

namespace lamp {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kSteps = 6;

const char* const kEverything =
    R"({"flip": {"probability": 0.5}, "rotate90": {"probability": 0.5}, "affine": {"probability": 0.5},
    "elastic": {"probability": 0.5, "sigma_voxels": [2, 3], "magnitude": [20, 60]},
    "intensity": {"probability": 0.5}, "gamma": {"probability": 0.5}, "noise": {"probability": 0.5}})";

bool same_bits(const torch::Tensor& a, const torch::Tensor& b) {
  return a.sizes() == b.sizes() && a.scalar_type() == b.scalar_type() && a.is_contiguous() &&
         b.is_contiguous() && std::memcmp(a.const_data_ptr(), b.const_data_ptr(), a.nbytes()) == 0;
}

class BatchSourceTest : public ::testing::Test {
 protected:
  BatchSourceTest() : dataset_(read_dataset(testing::write_ball_dataset(folder_ / "data", 5))) {}

  // Every batch of a stage from a store of its own.
  std::vector<Batch> batches(const StageConfig& stage, const LoaderConfig& loader, const Json& data,
                             const char* augment = kEverything) {
    CaseStore store(dataset_, parse_data_config(data), store_options(loader));
    const BatchPlan plan(
        stage, 0, false, 11, {0, 1, 2, 3, 4},
        Augmenter(parse_augment_config(parse_json(augment, "test")), dataset_.labels));
    auto source = prefetch_batches(plan, store, loader, 0, kSteps);
    std::vector<Batch> all;
    while (auto batch = source.next()) all.push_back(std::move(*batch));
    prepared_ = store.prepared();
    return all;
  }
  LoaderConfig cached(int threads) const {
    return {.threads = threads, .cache = (folder_ / "cache").string()};
  }

  testing::TemporaryFolder folder_;
  const Dataset dataset_;
  std::int64_t prepared_ = 0;
};

TEST_F(BatchSourceTest, TheSameBitsOnAnyNumberOfThreadsWithAndWithoutCacheColdAndWarm) {
  const StageConfig patches = {.patch = Size3{12, 10, 14}, .batch = 4};
  const StageConfig whole = {.patch = std::nullopt, .batch = 2};
  const Json grids[] = {{{"window", {0, 100}}},
                        {{"window", {-300, 300}}},
                        {{"window", nullptr}},
                        {{"window", {0, 100}}, {"spacing_mm", {1.3, 1, 1.5}}},
                        {{"spacing_mm", {1.3, 1, 1.5}}}};
  for (const StageConfig& stage : {patches, whole}) {
    for (const char* augment : {kEverything, "{}"}) {
      fs::remove_all(folder_ / "cache");
      for (const Json& data : grids) {
        const auto expected = batches(stage, {.threads = 1, .cache = "off"}, data, augment);
        ASSERT_EQ(expected.size(), kSteps);
        const LoaderConfig little = {.threads = 3, .memory = 20000, .cache = "off"};
        const std::vector<Batch> others[] = {
            batches(stage, little, data, augment), batches(stage, cached(3), data, augment),
            batches(stage, cached(1), data, augment), batches(stage, cached(5), data, augment)};
        EXPECT_EQ(prepared_, 0) << "warm";
        for (const auto& other : others) {
          ASSERT_EQ(other.size(), kSteps);
          for (std::size_t step = 0; step < other.size(); ++step) {
            EXPECT_TRUE(same_bits(other[step].image, expected[step].image)) << data << step;
            EXPECT_TRUE(same_bits(other[step].label, expected[step].label)) << data << step;
            EXPECT_EQ(other[step].annotated, expected[step].annotated);
          }
        }
      }
    }
  }
}

TEST_F(BatchSourceTest, BatchesDifferFromStepToStep) {
  const StageConfig stage = {.patch = Size3{12, 10, 14}, .batch = 4};
  const auto all = batches(stage, cached(2), {{"window", {0, 100}}});
  for (std::size_t step = 1; step < all.size(); ++step)
    EXPECT_FALSE(torch::equal(all[step].image, all[0].image));
}

TEST_F(BatchSourceTest, LabelsHoldOnlyDeclaredValuesAfterAugmentation) {
  const StageConfig stage = {.patch = Size3{24, 10, 14}, .batch = 4};
  for (const Batch& batch : batches(stage, cached(2), {{"spacing_mm", {0.7, 1.2, 1.5}}})) {
    EXPECT_LE(batch.label.max().item<int>(), 1);
    EXPECT_TRUE(batch.label.any().item<bool>());
    EXPECT_TRUE(batch.image.isfinite().all().item<bool>());
  }
}

TEST(CacheOptionsTest, TheUsersCacheFolderUnlessOffOrNamed) {
  const testing::TemporaryFolder folder;
  setenv("XDG_CACHE_HOME", folder.path().c_str(), 1);
  EXPECT_EQ(cache_options({})->folder, folder / "lamp" / "cases");
  setenv("XDG_CACHE_HOME", "not/absolute", 1);
  setenv("HOME", folder.path().c_str(), 1);
  EXPECT_EQ(cache_options({})->folder, folder / ".cache" / "lamp" / "cases");
  EXPECT_EQ(cache_options({.cache = "~/cases"})->folder, folder / "cases");
  EXPECT_EQ(cache_options({.cache = "cases", .cache_limit = 7})->folder, "cases");
  EXPECT_EQ(cache_options({.cache = "cases", .cache_limit = 7})->limit_bytes, 7);
  EXPECT_FALSE(cache_options({.cache = "off"}));
  unsetenv("XDG_CACHE_HOME");
  unsetenv("HOME");
  EXPECT_FALSE(cache_options({}));
}

}  // namespace
}  // namespace lamp
