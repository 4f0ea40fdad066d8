// Who owns which parameter, and when gradients that are handed over become a sum.
#include "lamp/pipeline/gradient_sum.h"

#include <gtest/gtest.h>
#include <torch/autograd.h>
#include <torch/types.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>
#include <vector>

#include "lamp/base/random.h"
#include "lamp/pipeline/transfer.h"

namespace lamp {
namespace {

using Owners = std::vector<std::size_t>;

// Of parameters with one row each, too small to be shared.
Owners owners_of(const std::vector<std::int64_t>& bytes, std::size_t lanes,
                 bool lie_apart = false) {
  std::vector<ParameterSize> sizes;
  for (const std::int64_t size : bytes) sizes.push_back({.rows = 1, .bytes = size});
  Owners owners;
  for (const GradientPiece& piece : deal_pieces(sizes, lanes, lie_apart)) {
    EXPECT_EQ(piece.parameter, owners.size());
    owners.push_back(piece.owner);
  }
  return owners;
}

TEST(DealPiecesTest, TheLargestComesFirstAndGoesToWhoeverHasLeast) {
  EXPECT_EQ(owners_of({4, 1, 3, 2}, 2), (Owners{0, 0, 1, 1}));  // 5 and 5
  EXPECT_EQ(owners_of({4, 1, 3, 2}, 1), (Owners{0, 0, 0, 0}));
  EXPECT_EQ(owners_of({7, 7, 7, 7, 7}, 2), (Owners{0, 1, 0, 1, 0}));
  EXPECT_EQ(owners_of({1, 1, 100, 1, 1}, 3), (Owners{1, 2, 0, 1, 2}));
}

TEST(DealPiecesTest, MoreLanesThanParametersLeaveSomeIdle) {
  EXPECT_EQ(owners_of({5, 6}, 4), (Owners{1, 0}));
  EXPECT_EQ(owners_of({}, 3), Owners());
}

TEST(DealPiecesTest, OfLanesThatLieApartTheFirstOwnsNothing) {
  EXPECT_EQ(owners_of({4, 1, 3, 2}, 3, /*lie_apart=*/true), (Owners{1, 1, 2, 2}));
  EXPECT_EQ(owners_of({4, 1, 3, 2}, 2, /*lie_apart=*/true), (Owners{0, 0, 1, 1}));
}

// 7 rows over three owners: 0 and 1, 2 and 3, 4 to 6.
TEST(DealPiecesTest, ALargeParameterIsSharedByRows) {
  const auto pieces =
      deal_pieces({{.rows = 9, .bytes = 8}, {.rows = 7, .bytes = 7 * kLargeParameterBytes}}, 3,
                  /*lie_apart=*/false);
  ASSERT_EQ(pieces.size(), 4U);
  EXPECT_EQ(pieces[0].parameter, 0U);
  EXPECT_EQ(pieces[0].count, 9);
  const std::int64_t firsts[] = {0, 2, 4}, counts[] = {2, 2, 3};
  for (std::size_t k = 0; k < 3; ++k) {
    EXPECT_EQ(pieces[k + 1].parameter, 1U);
    EXPECT_EQ(pieces[k + 1].owner, k);
    EXPECT_EQ(pieces[k + 1].first, firsts[k]);
    EXPECT_EQ(pieces[k + 1].count, counts[k]);
  }
}

TEST(DealPiecesTest, FewerRowsThanOwnersMakeFewerPieces) {
  const auto pieces = deal_pieces({{.rows = 2, .bytes = kLargeParameterBytes}}, 5, true);
  ASSERT_EQ(pieces.size(), 2U);
  for (const GradientPiece& piece : pieces) {
    EXPECT_GT(piece.owner, 0U);
    EXPECT_EQ(piece.count, 1);
  }
}

// Every row once, and shares that differ by less than a row of each large one and one small one.
TEST(DealPiecesTest, SharesAreEven) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    Random random{seed, 31};
    std::vector<ParameterSize> sizes(static_cast<std::size_t>(1 + random.below(60)));
    double slack = 0, largest_small = 0;
    for (ParameterSize& size : sizes) {
      size.rows = 1 + static_cast<std::int64_t>(random.below(64));
      size.bytes = size.rows * 4 * static_cast<std::int64_t>(1 + random.below(10000));
      if (size.bytes >= kLargeParameterBytes)
        slack += static_cast<double>(size.bytes / size.rows);
      else
        largest_small = std::max(largest_small, static_cast<double>(size.bytes));
    }
    const auto lanes = static_cast<std::size_t>(1 + random.below(8));
    std::vector<double> shares(lanes, 0);
    std::vector<std::int64_t> rows(sizes.size(), 0);
    for (const GradientPiece& piece : deal_pieces(sizes, lanes, false)) {
      const ParameterSize& size = sizes[piece.parameter];
      EXPECT_EQ(piece.first, rows[piece.parameter]) << seed;
      rows[piece.parameter] += piece.count;
      shares.at(piece.owner) += static_cast<double>(piece.count * (size.bytes / size.rows));
    }
    for (std::size_t i = 0; i < sizes.size(); ++i) EXPECT_EQ(rows[i], sizes[i].rows) << seed;
    const auto [least, most] = std::minmax_element(shares.begin(), shares.end());
    EXPECT_LE(*most - *least, slack + largest_small) << seed;
  }
}

// Lanes of two parameters of three ones each: of two lanes, each owns the one with its number.
class GradientSumTest : public ::testing::Test {
 protected:
  explicit GradientSumTest(std::size_t lanes = 2) {
    for (std::size_t lane = 0; lane < lanes; ++lane) {
      lanes_.push_back({ones(), ones()});
      sum_.add_lane(lanes_.back());
    }
    sum_.reset(lanes);
  }
  static torch::Tensor ones() { return torch::ones({3}, torch::kFloat64).requires_grad_(); }
  // Gradients of factor and 2 * factor.
  void backward(std::size_t lane, double factor) {
    const auto& parameters = lanes_[lane];
    ((parameters[0] + parameters[1].square()) * factor).sum().backward();
  }
  void last_backward(std::size_t lane, double factor) {
    sum_.begin_last_backward(lane);
    backward(lane, factor);
  }
  void finish_all() {
    std::vector<std::thread> threads;
    for (std::size_t lane = 0; lane < lanes_.size(); ++lane)
      threads.emplace_back([this, lane] { sum_.finish(lane); });
    for (std::thread& thread : threads) thread.join();
    sum_.take_sums();
  }
  const torch::Tensor& gradient(std::size_t lane, std::size_t parameter) const {
    return lanes_[lane][parameter].grad();
  }
  static void expect_all(const torch::Tensor& tensor, double value) {
    ASSERT_TRUE(tensor.defined());
    EXPECT_TRUE(torch::equal(tensor, torch::full({3}, value, torch::kFloat64))) << tensor;
  }

  std::vector<std::vector<torch::Tensor>> lanes_;
  GradientSum sum_;
};

TEST_F(GradientSumTest, AnOwnerSumsWhatIsCompleteWithinItsLastBackwardPass) {
  last_backward(0, 2);
  EXPECT_FALSE(gradient(0, 0).defined()) << "handed over";
  EXPECT_FALSE(gradient(0, 1).defined()) << "handed over";
  last_backward(1, 3);
  sum_.take_sums();  // what there is of them
  EXPECT_FALSE(gradient(0, 0).defined()) << "the first lane's to sum";
  expect_all(gradient(0, 1), 4 + 6);
  finish_all();
  expect_all(gradient(0, 0), 2 + 3);
  expect_all(gradient(0, 1), 4 + 6);
  EXPECT_FALSE(gradient(1, 0).defined());
  EXPECT_FALSE(gradient(1, 1).defined());
}

TEST_F(GradientSumTest, EarlierBackwardPassesAddInTheirLane) {
  backward(0, 1);
  expect_all(gradient(0, 0), 1);
  last_backward(0, 2);
  backward(1, 4);
  expect_all(gradient(1, 1), 8);
  finish_all();  // the second lane without a last pass, as where weights' halves end the step
  expect_all(gradient(0, 0), 1 + 2 + 4);
  expect_all(gradient(0, 1), 2 + 4 + 8);
}

TEST_F(GradientSumTest, LanesMayLackAGradient) {
  sum_.begin_last_backward(0);
  sum_.begin_last_backward(1);
  (lanes_[1][0] * 5).sum().backward();
  finish_all();
  expect_all(gradient(0, 0), 5);
  EXPECT_FALSE(gradient(0, 1).defined()) << "no lane has one";
  EXPECT_FALSE(gradient(1, 0).defined());
}

TEST_F(GradientSumTest, OneStepFollowsAnother) {
  for (int step = 1; step <= 3; ++step) {
    sum_.reset(2);
    last_backward(1, step);
    last_backward(0, 10 * step);
    finish_all();
    expect_all(gradient(0, 0), 11 * step);
    expect_all(gradient(0, 1), 22 * step);
    for (torch::Tensor& parameter : lanes_[0]) parameter.mutable_grad().reset();
  }
}

TEST_F(GradientSumTest, OfTheFirstLanesAloneOnlyTheseTakePart) {
  sum_.reset(1);
  last_backward(0, 3);
  sum_.finish(0);
  sum_.take_sums();
  expect_all(gradient(0, 0), 3);
  expect_all(gradient(0, 1), 6);
}

TEST_F(GradientSumTest, CancelEndsAWaitAndResetForgets) {
  backward(1, 7);  // not its last
  std::thread waiting([this] { EXPECT_THROW(sum_.finish(0), Cancelled); });
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  sum_.cancel();
  waiting.join();
  EXPECT_THROW(sum_.finish(1), Cancelled) << "it is to end at once as well";
  backward(1, 7);
  sum_.reset(2);
  EXPECT_FALSE(gradient(1, 0).defined());
  last_backward(0, 1);
  last_backward(1, 1);
  finish_all();
  expect_all(gradient(0, 0), 2);
  expect_all(gradient(0, 1), 4);
}

TEST_F(GradientSumTest, BetweenStepsBackwardPassesAreNoneOfItsBusiness) {
  last_backward(0, 1);
  last_backward(1, 1);
  finish_all();
  backward(0, 1);
  expect_all(gradient(0, 0), 3);
}

TEST(GradientSumEndTest, ItLeavesParametersAsTheyWere) {
  const torch::Tensor parameter = torch::ones({3}, torch::kFloat64).requires_grad_();
  {
    GradientSum sum;
    sum.add_lane({parameter});
    sum.reset(1);
    sum.begin_last_backward(0);
  }
  (parameter * 2).sum().backward();
  EXPECT_TRUE(torch::equal(parameter.grad(), torch::full({3}, 2., torch::kFloat64)));
}

// torch takes the view of `sum + p`'s gradient as p's own, while the input's still needs the
// memory.
TEST(GradientSumMemoryTest, TheSumIsNotWrittenIntoABackwardPassUnderWay) {
  const auto parameter = [] { return torch::ones({1, 3}, torch::kFloat64).requires_grad_(); };
  const std::vector<torch::Tensor> parameters = {parameter(), parameter()};
  GradientSum sum;
  for (const torch::Tensor& each : parameters) sum.add_lane({each});
  sum.reset(2);
  const torch::Tensor weights = torch::tensor({1., 2., 3.}, torch::kFloat64);
  std::vector<torch::Tensor> inputs;
  for (const std::size_t lane : {std::size_t{1}, std::size_t{0}}) {
    inputs.push_back(torch::ones({3}, torch::kFloat64).requires_grad_());
    sum.begin_last_backward(lane);
    ((inputs.back() * 2 + parameters[lane].view({3})) * weights).sum().backward();
  }
  sum.take_sums();
  EXPECT_TRUE(torch::equal(parameters[0].grad(), (weights * 2).view({1, 3})));
  for (const torch::Tensor& input : inputs) EXPECT_TRUE(torch::equal(input.grad(), weights * 2));
}

// Three lanes that each sum a third of 70 000 numbers, in an order of dimensions of their own.
TEST(GradientSumPiecesTest, ALargeParameterIsSummedRowByRow) {
  std::vector<torch::Tensor> lanes;
  GradientSum sum;
  for (int lane = 0; lane < 3; ++lane) {
    lanes.push_back(torch::zeros({70, 1000}).requires_grad_());
    sum.add_lane({lanes.back()});
  }
  sum.reset(3);
  torch::Tensor expected;
  for (std::size_t lane = 0; lane < 3; ++lane) {
    const torch::Tensor factors =
        lane == 1 ? torch::randn({1000, 70}).t() : torch::randn({70, 1000});
    expected = lane == 0 ? factors : expected + factors;
    sum.begin_last_backward(lane);
    (lanes[lane] * factors).sum().backward();
  }
  std::vector<std::thread> threads;
  for (std::size_t lane = 0; lane < 3; ++lane)
    threads.emplace_back([&sum, lane] { sum.finish(lane); });
  for (std::thread& thread : threads) thread.join();
  sum.take_sums();
  EXPECT_TRUE(torch::equal(lanes[0].grad(), expected));
}

// On one device the weights are the same memory.
TEST(GradientSumWeightsTest, EveryLaneHasTheFirstOnesWeights) {
  std::vector<std::vector<torch::Tensor>> lanes;
  GradientSum sum;
  for (int lane = 0; lane < 3; ++lane) {
    lanes.push_back({torch::full({4}, lane, torch::kFloat64).requires_grad_(),
                     torch::full({2}, lane, torch::kFloat64).requires_grad_()});
    sum.add_lane(lanes.back());
  }
  sum.send_weights();
  for (const auto& lane : lanes)
    for (std::size_t i = 0; i < 2; ++i) {
      EXPECT_TRUE(torch::equal(lane[i], torch::zeros_like(lane[i])));
      EXPECT_EQ(lane[i].data_ptr(), lanes[0][i].data_ptr());
    }
}

}  // namespace
}  // namespace lamp
