// Over replicas, stages and slabs comes out what one device gives.
#include "lamp/inference/grid_predictor.h"

#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <csignal>
#include <memory>
#include <string>
#include <vector>

#include "lamp/base/errors.h"
#include "lamp/inference/predictor.h"
#include "lamp/nets/inference_form.h"
#include "lamp/nets/net_factory.h"
#include "lamp/pipeline/pipeline.h"
#include "lamp/sequence/run_context.h"
#include "lamp/sequence/slab_group.h"
#include "support/relative_error.h"
#include "support/signals.h"

namespace lamp {
namespace {

using lamp::testing::relative_error;
using ::testing::AllOf;
using ::testing::HasSubstr;

const c10::Device kGridDevice(c10::kCPU);

// Odd sizes, unequal ones, one whose last axis has a single voxel; D, H, W.
const std::vector<std::int64_t> kSizes[] = {
    {21, 16, 34}, {32, 32, 32}, {9, 40, 1}, {37, 8, 8}, {1, 7, 33}};

Network folded(const std::string& name) {
  Network network = make_network({.name = name, .width = 8, .depth = 2, .classes = 3});
  network.initialise(5);
  network.chain->eval();
  return inference_form(network);
}

torch::Tensor noise(const std::vector<std::int64_t>& size, std::int64_t samples = 1) {
  torch::manual_seed(static_cast<std::uint64_t>(size[0]));
  return torch::rand({samples, 1, size[0], size[1], size[2]});
}

struct Split {
  int replicas, stages, slabs;
};

GridPlacement placement(const Network& network, const Split& split) {
  return {.devices = std::vector<c10::Device>(
              static_cast<std::size_t>(split.replicas * split.stages * split.slabs), kGridDevice),
          .replicas = split.replicas,
          .slabs = split.slabs,
          .make_chain = chain_maker(network, /*is_folded=*/true)};
}

class GridPredictorTest : public ::testing::Test {
 protected:
  GridPredictorTest() { at::set_num_threads(2); }
  ~GridPredictorTest() override { at::set_num_threads(threads_); }

  const int threads_ = at::get_num_threads();
};

TEST_F(GridPredictorTest, GivesTheScoresOfOneDevice) {
  const torch::NoGradGuard no_gradients;
  for (const char* name : {"unet", "seunet", "anatomynet"}) {
    Network network = folded(name);
    place_network(network, {});
    const Predictor one = make_predictor(network, kGridDevice, torch::kFloat32);
    std::vector<torch::Tensor> expected;
    for (const auto& size : kSizes) expected.push_back(one(noise(size)));
    for (const Split& split : {Split{1, 1, 2}, {1, 1, 4}, {1, 2, 2}, {2, 1, 2}, {2, 2, 1}}) {
      Network again = folded(name);  // whose layers move
      place_network(again, {});
      const GridPredictor grid = make_grid_predictor(again, placement(again, split));
      EXPECT_EQ(grid.partition.size(), static_cast<std::size_t>(split.stages));
      for (std::size_t i = 0; i < std::size(kSizes); ++i)
        EXPECT_LE(relative_error(grid.predict(noise(kSizes[i])), expected[i]), 1e-5)
            << name << ", " << split.replicas << " x " << split.stages << " x " << split.slabs
            << ", size " << i;
    }
  }
}

// What is left of the difference is rounding.
TEST_F(GridPredictorTest, SlabsOfTheFoldedNetworkAreExactInDoublePrecision) {
  const torch::NoGradGuard no_gradients;
  for (const char* name : {"unet", "seunet", "anatomynet"}) {
    const Network network = folded(name);
    network.chain->to(torch::kFloat64);
    const torch::Tensor input = network.pad(noise({21, 16, 34}).to(torch::kFloat64));
    LocalSkips skips;
    const torch::Tensor expected = network.chain->run(input, 0, network.chain->size(), skips);
    for (const int slabs : {2, 3, 5}) {
      const auto count = static_cast<std::size_t>(slabs);
      Pipeline pipeline(network.chain, {.devices = std::vector<c10::Device>(count, kGridDevice),
                                        .slabs = slabs,
                                        .make_chain = chain_maker(network, /*is_folded=*/true)});
      EXPECT_LE(relative_error(pipeline.predict({input})[0], expected), 1e-12)
          << name << ", " << slabs << " slabs";
    }
  }
}

// Five samples over two replicas: their order is kept, and so are the bits.
TEST_F(GridPredictorTest, ReplicasKeepOrderAndBits) {
  const torch::NoGradGuard no_gradients;
  at::set_num_threads(1);  // as each worker has
  Network network = folded("unet");
  place_network(network, {});
  const torch::Tensor images = noise({16, 12, 20}, 5);
  const Predictor one = make_predictor(network, kGridDevice, torch::kFloat32);
  std::vector<torch::Tensor> expected;
  for (const torch::Tensor& image : images.split(1)) expected.push_back(one(image));
  for (const int replicas : {2, 3}) {
    const GridPredictor grid = make_grid_predictor(network, placement(network, {replicas, 1, 1}));
    EXPECT_TRUE(torch::equal(grid.predict(images), torch::cat(expected))) << replicas;
  }
}

// Windows that overlap are added in their own order, whoever made them.
TEST_F(GridPredictorTest, WindowsOverReplicasHaveTheBitsOfOneDevice) {
  const torch::NoGradGuard no_gradients;
  at::set_num_threads(1);
  Network network = folded("seunet");
  place_network(network, {});
  const torch::Tensor image = noise({24, 20, 28})[0];
  WindowOptions windows{.size = {16, 12, 8}};
  const torch::Tensor expected =
      sliding_window(image, windows, make_predictor(network, kGridDevice, torch::kFloat32));
  const GridPredictor grid = make_grid_predictor(network, placement(network, {2, 1, 1}));
  windows.batch = windows_at_once(2);
  for (int time = 0; time < 2; ++time)
    EXPECT_TRUE(torch::equal(sliding_window(image, windows, grid.predict), expected));
}

TEST_F(GridPredictorTest, WindowsAreCutIntoSlabs) {
  const torch::NoGradGuard no_gradients;
  Network network = folded("unet");
  place_network(network, {});
  const torch::Tensor image = noise({24, 20, 28})[0];
  const WindowOptions windows{.size = {16, 12, 8}};
  const torch::Tensor expected =
      sliding_window(image, windows, make_predictor(network, kGridDevice, torch::kFloat32));
  const GridPredictor grid = make_grid_predictor(network, placement(network, {1, 1, 2}));
  EXPECT_LE(relative_error(sliding_window(image, windows, grid.predict), expected), 1e-5);
}

// 34 planes are padded to 40, of which the coarsest of four levels has 5.
TEST_F(GridPredictorTest, TooManySlabsAreRefusedWithTheNumberThatIsPossible) {
  const Network network = folded("unet");
  check_cut(network, {34, 21, 16}, 5);
  try {
    check_cut(network, {34, 21, 16}, 6);
    FAIL() << "six slabs of five planes";
  } catch (const UsageError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("slabs=6"), HasSubstr("5 slabs or fewer")));
  }
}

// A layer that passes its input on; two kinds that do not.
class Passing : public Layer {
 public:
  torch::Tensor forward(torch::Tensor input, SkipPort&) override { return input.clone(); }
  std::optional<PlaneRule> plane_rule(std::int64_t) const override { return PlaneRule{}; }
};
class FailingOnSlabOne : public Passing {
 public:
  torch::Tensor forward(torch::Tensor input, SkipPort& skips) override {
    if (RunContext::current()->slabs->rank() == 1 && fails) throw Error("the disk is gone");
    return Passing::forward(std::move(input), skips);
  }
  static inline bool fails = true;
};
class Silent : public Layer {  // about planes
 public:
  torch::Tensor forward(torch::Tensor input, SkipPort&) override { return input.clone(); }
};

template <typename Kind>
Network network_with() {
  return {.chain = std::make_shared<Sequence>(std::vector<Link>{
              {"first", std::make_shared<Passing>()}, {"second", std::make_shared<Kind>()}})};
}

TEST_F(GridPredictorTest, AFailureNamesItsSlabAndLayerAndTheNextVolumeIsRight) {
  const Network network = network_with<FailingOnSlabOne>();
  GridPlacement places = placement(network, {1, 1, 2});
  places.make_chain = [] { return network_with<FailingOnSlabOne>().chain; };
  const GridPredictor grid = make_grid_predictor(network, places);
  FailingOnSlabOne::fails = true;
  const torch::Tensor image = noise({8, 4, 4});
  try {
    grid.predict(image);
    FAIL() << "slab 1 fails";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(),
                AllOf(HasSubstr("the disk is gone"), HasSubstr("slab 1"), HasSubstr("second")));
  }
  FailingOnSlabOne::fails = false;
  EXPECT_TRUE(torch::equal(grid.predict(image), image));
}

TEST_F(GridPredictorTest, ALayerThatCannotRunOnSlabsIsNamed) {
  try {
    check_cut(network_with<Silent>(), {8, 8, 8}, 2);
    FAIL() << "a layer that does not say how planes move";
  } catch (const UsageError& error) {
    EXPECT_THAT(error.what(), HasSubstr("second"));
  }
}

TEST_F(GridPredictorTest, ASignalStopsAPassOnSlabsBetweenLinks) {
  Network network = folded("unet");
  place_network(network, {});
  const GridPredictor grid = make_grid_predictor(network, placement(network, {1, 1, 2}));
  testing::send_signal(SIGTERM);
  EXPECT_THROW(grid.predict(noise({16, 8, 8})), Interrupted);
  testing::forget_signals();
}

}  // namespace
}  // namespace lamp
