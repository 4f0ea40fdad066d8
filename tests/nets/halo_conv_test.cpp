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
    sums_ = {torch::zeros_like(input_), torch::zeros_like(weight_), torch::zeros_like(bias_)};
    int joined = 0;
    for (std::size_t slab = 0; slab < cut_.slabs(); ++slab) joined += run_slab(slab);
    EXPECT_LE(relative(sums_.input, expected_.input), 1e-13);
    EXPECT_LE(relative(sums_.weight, expected_.weight), 1e-13);
    EXPECT_LE(relative(sums_.bias, expected_.bias), 1e-13);
    return joined;
  }

 private:
  SlabPlanes planes_of(std::size_t slab) const {
    const PlaneRule rule = plane_rule(weight_.sizes(), geometry_, case_.axis);
    SlabPlanes planes{.input = {.axis = case_.axis,
                                .planes = case_.planes,
                                .owned = cut_.owned(case_.planes),
                                .needed = {}},
                      .rank = static_cast<int>(slab),
                      .geometry = geometry_,
                      .made = {},
                      .always_joined = case_.always_joined};
    planes.geometry.padding[static_cast<std::size_t>(case_.axis - 2)] = 0;
    const auto outputs = cut_.owned(output_.size(case_.axis));
    for (const PlaneRange& range : outputs)
      planes.input.needed.push_back(rule.needed(range, case_.planes));
    planes.made = rule.transposed ? rule.dense_of(planes.input.needed[slab]) : outputs[slab];
    return planes;
  }
  std::vector<torch::Tensor> halo_of(const SlabPlanes& planes) const {
    const auto rank = static_cast<std::size_t>(planes.rank);
    std::vector<torch::Tensor> halo(planes.input.owned.size());
    for (std::size_t other = 0; other < halo.size(); ++other)
      if (const PlaneRange theirs = common(planes.input.owned[other], planes.input.needed[rank]);
          other != rank && theirs.count() > 0)
        halo[other] = narrowed(input_, case_.axis, theirs).clone();
    return halo;
  }
  // Of the output's planes those of a slab, as they lie among what it makes.
  torch::Tensor own_part(const torch::Tensor& made, const SlabPlanes& planes) const {
    const PlaneRange own = own_outputs(planes);
    return narrowed(made, case_.axis,
                    {own.first - planes.made.first, own.last - planes.made.first});
  }
  PlaneRange own_outputs(const SlabPlanes& planes) const {
    return cut_.owned(output_.size(case_.axis))[static_cast<std::size_t>(planes.rank)];
  }

  bool run_slab(std::size_t slab) {
    const SlabPlanes planes = planes_of(slab);
    const torch::Tensor own = narrowed(input_, case_.axis, planes.input.owned[slab]).clone();
    const std::vector<torch::Tensor> halo = halo_of(planes);
    check_output(planes, own, halo);
    add_gradients(planes, own, halo);
    return joins_halo(plane_rule(weight_.sizes(), geometry_, case_.axis), planes.input.owned[slab],
                      planes.input.needed[slab], planes.made.count());
  }
  void check_output(const SlabPlanes& planes, const torch::Tensor& own,
                    const std::vector<torch::Tensor>& halo) const {
    const auto kernel = [&](const torch::Tensor& part, const ConvGeometry& geometry) {
      return convolution(part, weight_, bias_, geometry);
    };
    const torch::Tensor made = run_with_halo(planes, own, halo, weight_, kernel);
    const torch::Tensor expected = narrowed(output_, case_.axis, own_outputs(planes));
    EXPECT_LE((own_part(made, planes) - expected).abs().max().item<double>(), 1e-12);
  }
  void add_gradients(const SlabPlanes& planes, const torch::Tensor& own,
                     const std::vector<torch::Tensor>& halo) {
    const auto rank = static_cast<std::size_t>(planes.rank);
    std::vector<std::int64_t> sizes = output_.sizes().vec();
    sizes[static_cast<std::size_t>(case_.axis)] = planes.made.count();
    const torch::Tensor gradient = torch::zeros(sizes, output_.options());
    own_part(gradient, planes).copy_(narrowed(gradient_, case_.axis, own_outputs(planes)));
    const HaloGradients found = gradients_with_halo(planes, gradient, own, halo, weight_, {});
    sums_.weight += found.own.weight;
    sums_.bias += found.own.bias;
    const PlaneRange& needed = planes.input.needed[rank];
    for (std::size_t other = 0; other < halo.size(); ++other) {
      const torch::Tensor& part = other == rank ? found.own.input : found.halo[other];
      if (part.defined())
        narrowed(sums_.input, case_.axis, common(planes.input.owned[other], needed)) += part;
    }
  }
  static double relative(const torch::Tensor& found, const torch::Tensor& expected) {
    return ((found - expected).norm() / expected.norm()).item<double>();
  }

  Case case_;
  ConvGeometry geometry_;
  SlabCut cut_;
  torch::Tensor input_, weight_, bias_, output_, gradient_;
  ConvGradients expected_, sums_;
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
