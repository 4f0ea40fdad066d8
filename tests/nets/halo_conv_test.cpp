// Slabs of one convolution against the convolution of the whole volume: what each slab makes, the
// input's gradient put together from all of them, and the sum of the weights' gradients.
#include "lamp/nets/halo_conv.h"

#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

namespace lamp {
namespace {

struct Case {
  std::int64_t kernel, stride, padding;
  bool transposed = false;
  std::int64_t planes = 37, axis = 2, slabs = 3;
  bool always_joined = false;
};

class WholeAndSlabs {
 public:
  explicit WholeAndSlabs(const Case& of)
      : case_(of), geometry_{std::vector(3, of.stride), std::vector(3, of.padding), of.transposed} {
    torch::manual_seed(7);
    std::vector<std::int64_t> sizes = {2, 3, 6, 6, 6};
    sizes[static_cast<std::size_t>(of.axis)] = of.planes;
    const auto options = torch::dtype(torch::kFloat64);
    input_ = torch::randn(sizes, options).contiguous(at::MemoryFormat::ChannelsLast3d);
    weight_ = torch::randn(
        {of.transposed ? 3 : 4, of.transposed ? 4 : 3, of.kernel, of.kernel, of.kernel}, options);
    bias_ = torch::randn({4}, options);
    output_ = convolution(input_, weight_, bias_, geometry_);
    gradient_ = torch::randn_like(output_);
    expected_ = convolution_gradients(gradient_, input_, weight_, geometry_, {});
    cut_ = {.axis = static_cast<int>(of.axis), .boundaries = even_boundaries(of.planes, of.slabs)};
  }

  // How many slabs join their planes with the halo.
  int run() {
    const PlaneRule rule = plane_rule(weight_.sizes(), geometry_, case_.axis);
    const std::int64_t made_planes = output_.size(case_.axis);
    const auto owned = cut_.owned(case_.planes), outputs = cut_.owned(made_planes);
    SlabPlanes planes{
        .input = {.axis = case_.axis, .planes = case_.planes, .owned = owned, .needed = {}},
        .geometry = geometry_,
        .made = {},
        .always_joined = case_.always_joined};
    planes.geometry.padding[static_cast<std::size_t>(case_.axis - 2)] = 0;
    for (const PlaneRange& range : outputs)
      planes.input.needed.push_back(rule.needed(range, case_.planes));
    torch::Tensor of_input = torch::zeros_like(input_), of_weight = torch::zeros_like(weight_),
                  of_bias = torch::zeros_like(bias_);
    int joined = 0;
    for (std::size_t slab = 0; slab < outputs.size(); ++slab) {
      const PlaneRange& needed = planes.input.needed[slab];
      planes.rank = static_cast<int>(slab);
      planes.made = rule.transposed ? rule.dense_of(needed) : outputs[slab];
      joined += joins_halo(rule, owned[slab], needed, planes.made.count());
      const torch::Tensor own = narrowed(input_, case_.axis, owned[slab]).clone();
      std::vector<torch::Tensor> halo(owned.size());
      for (std::size_t other = 0; other < owned.size(); ++other)
        if (const PlaneRange theirs = common(owned[other], needed);
            other != slab && theirs.count() > 0)
          halo[other] = narrowed(input_, case_.axis, theirs).clone();
      const auto kernel = [&](const torch::Tensor& part, const ConvGeometry& geometry) {
        return convolution(part, weight_, bias_, geometry);
      };
      const PlaneRange seen = common(planes.made, {0, made_planes});
      const PlaneRange place{seen.first - planes.made.first, seen.last - planes.made.first};
      const torch::Tensor made =
          narrowed(run_with_halo(planes, own, halo, weight_, kernel), case_.axis, place);
      EXPECT_LE((narrowed(made, case_.axis,
                          {outputs[slab].first - seen.first, outputs[slab].last - seen.first}) -
                 narrowed(output_, case_.axis, outputs[slab]))
                    .abs()
                    .max()
                    .item<double>(),
                1e-12);
      std::vector<std::int64_t> sizes = output_.sizes().vec();
      sizes[static_cast<std::size_t>(case_.axis)] = planes.made.count();
      torch::Tensor gradient = torch::zeros(sizes, output_.options());
      narrowed(gradient, case_.axis,
               {outputs[slab].first - planes.made.first, outputs[slab].last - planes.made.first})
          .copy_(narrowed(gradient_, case_.axis, outputs[slab]));
      const HaloGradients found = gradients_with_halo(planes, gradient, own, halo, weight_, {});
      of_weight += found.own.weight;
      of_bias += found.own.bias;
      narrowed(of_input, case_.axis, common(owned[slab], needed)) += found.own.input;
      for (std::size_t other = 0; other < owned.size(); ++other)
        if (found.halo[other].defined())
          narrowed(of_input, case_.axis, common(owned[other], needed)) += found.halo[other];
    }
    EXPECT_LE(relative(of_input, expected_.input), 1e-13);
    EXPECT_LE(relative(of_weight, expected_.weight), 1e-13);
    EXPECT_LE(relative(of_bias, expected_.bias), 1e-13);
    return joined;
  }

 private:
  static double relative(const torch::Tensor& found, const torch::Tensor& expected) {
    return ((found - expected).norm() / expected.norm()).item<double>();
  }

  Case case_;
  ConvGeometry geometry_;
  SlabCut cut_;
  torch::Tensor input_, weight_, bias_, output_, gradient_;
  ConvGradients expected_;
};

TEST(HaloConvTest, SlabsMakeWhatTheVolumeMakes) {
  for (const std::int64_t axis : {2, 3, 4})
    for (const std::int64_t planes : {26, 37, 40, 64})
      for (const std::int64_t slabs : {2, 3})
        for (const Case& of : {Case{3, 1, 1},
                               {3, 2, 1},
                               {1, 1, 0},
                               {2, 2, 0},
                               {5, 1, 2},
                               {3, 1, 0},
                               {2, 2, 0, true},
                               {3, 2, 1, true},
                               {4, 2, 1}}) {
          Case drawn = of;
          drawn.axis = axis;
          drawn.planes = planes;
          drawn.slabs = slabs;
          SCOPED_TRACE(::testing::Message() << of.kernel << " " << of.stride << " " << of.padding
                                            << (of.transposed ? " transposed" : "") << ", axis "
                                            << axis << ", " << planes << " planes, " << slabs);
          WholeAndSlabs(drawn).run();
          drawn.always_joined = true;
          WholeAndSlabs(drawn).run();
        }
}

// Otherwise the cases above would show one way only.
TEST(HaloConvTest, WideSlabsAreNotCopied) {
  EXPECT_EQ(WholeAndSlabs({.kernel = 3, .stride = 1, .padding = 1, .planes = 40}).run(), 0);
  EXPECT_EQ(WholeAndSlabs({.kernel = 3, .stride = 2, .padding = 1, .planes = 48}).run(), 0);
  EXPECT_EQ(WholeAndSlabs({.kernel = 3, .stride = 1, .padding = 1, .planes = 15}).run(), 3);
}

}  // namespace
}  // namespace lamp
