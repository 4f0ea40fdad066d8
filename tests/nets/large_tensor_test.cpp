// Once for real: the head of a network on a volume whose tensors have more than 2^31 elements.
// Takes up to 10 GiB and some minutes (CTest label `long`); without pieces oneDNN needs hours.
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "lamp/nets/blocks.h"
#include "lamp/nets/conv_pieces.h"
#include "support/relative_error.h"

namespace lamp {
namespace {

using testing::relative_error;

// Upsampling with activation to 16 channels of 512 x 512 x 516, then the convolution to the
// classes, in bf16. Planes from both ends and the middle are those of the same layers on a few
// planes alone.
TEST(LargeTensorTest, TheHeadOfANetworkIsRightBeyondTwoToThe31Elements) {
  const torch::InferenceMode no_graph;
  constexpr auto kLast = at::MemoryFormat::ChannelsLast3d;
  torch::manual_seed(11);
  GuardedConvTranspose3d up = make_upsampling(8, 16);
  GuardedConv3d out = make_conv({.in = 16, .out = 2, .bias = true});
  up->to(torch::kBFloat16);
  out->to(torch::kBFloat16);
  const torch::Tensor input =
      torch::empty({1, 8, 258, 256, 256}, torch::dtype(torch::kBFloat16).memory_format(kLast))
          .normal_();
  const auto head = [&](const torch::Tensor& planes) {
    return out->forward(activate(up->forward(planes)));
  };
  const torch::Tensor large = head(input);
  ASSERT_EQ(large.sizes(), (std::vector<std::int64_t>{1, 2, 516, 512, 512}));
  EXPECT_GT(16 * large.numel() / 2, std::int64_t{1} << 31);
  // Four planes of input are eight of output, of which the outermost lack their neighbours.
  for (const std::int64_t first : {0, 100, 127, 254}) {
    const torch::Tensor part = head(input.narrow(2, first, 4).contiguous(kLast));
    const std::int64_t skip = first == 0 ? 0 : 1, end = first == 254 ? 8 : 7;
    EXPECT_LT(relative_error(large.narrow(2, 2 * first + skip, end - skip),
                             part.narrow(2, skip, end - skip)),
              1e-2)
        << first;
  }
}

}  // namespace
}  // namespace lamp
