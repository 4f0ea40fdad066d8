// What a chain refuses to be built of, how it names its parts, and that stash and pop carry values
// and gradients.
#include "lamp/sequence/sequence.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/conv.h>
#include <torch/types.h>

#include <functional>

#include "lamp/sequence/skip_layers.h"

namespace lamp {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::shared_ptr<Layer> identity() {
  return as_layer([](torch::Tensor x) { return x; });
}
std::shared_ptr<Layer> stash(const std::string& name) { return std::make_shared<StashSkip>(name); }
std::shared_ptr<Layer> concat(const std::string& name) {
  return std::make_shared<ConcatSkip>(name);
}

// Declares one thing and does another.
class Liar : public Layer {
 public:
  using Act = std::function<torch::Tensor(torch::Tensor, SkipPort&)>;
  Liar(std::vector<std::string> stashes, std::vector<std::string> pops, Act act)
      : stashes_(std::move(stashes)), pops_(std::move(pops)), act_(std::move(act)) {}
  torch::Tensor forward(torch::Tensor x, SkipPort& skips) override { return act_(x, skips); }
  std::vector<std::string> stashes() const override { return stashes_; }
  std::vector<std::string> pops() const override { return pops_; }

 private:
  std::vector<std::string> stashes_;
  std::vector<std::string> pops_;
  Act act_;
};

std::string failure(const std::function<void()>& act) {
  try {
    act();
  } catch (const c10::Error& error) {
    return error.msg();
  }
  return "no error";
}

std::string build_failure(std::vector<Link> links) {
  return failure([&] { Sequence chain(std::move(links)); });
}

TEST(SequenceTest, RefusesAnEmptyChain) {
  EXPECT_THAT(build_failure({}), HasSubstr("at least one layer"));
}

TEST(SequenceTest, RefusesAPopThatWasNeverStashed) {
  EXPECT_THAT(build_failure({{"a", identity()}, {"b", concat("s")}}),
              AllOf(HasSubstr("\"s\" is popped by layer b"), HasSubstr("never stashed")));
}

TEST(SequenceTest, RefusesAStashThatIsNeverPopped) {
  EXPECT_THAT(build_failure({{"a", stash("s")}, {"b", identity()}}),
              AllOf(HasSubstr("\"s\" is stashed by layer a"), HasSubstr("never popped")));
}

TEST(SequenceTest, RefusesASecondStashOfTheSameName) {
  EXPECT_THAT(build_failure({{"a", stash("s")}, {"b", stash("s")}, {"c", concat("s")}}),
              HasSubstr("\"s\" is stashed twice: by layers a and b"));
}

TEST(SequenceTest, RefusesASecondPopOfTheSameName) {
  EXPECT_THAT(build_failure({{"a", stash("s")}, {"b", concat("s")}, {"c", concat("s")}}),
              HasSubstr("\"s\" is popped twice: by layers b and c"));
}

TEST(SequenceTest, RefusesAPopBeforeItsStash) {
  EXPECT_THAT(build_failure({{"a", concat("s")}, {"b", stash("s")}}),
              HasSubstr("\"s\" is popped by layer a before layer b stashes it"));
}

TEST(SequenceTest, RefusesOneModuleInTwoLayers) {
  const auto shared = identity();
  EXPECT_THAT(build_failure({{"a", shared}, {"b", shared}}), HasSubstr("layers a and b"));
  torch::nn::Conv3d conv(torch::nn::Conv3dOptions(1, 1, 1));
  EXPECT_THAT(build_failure({{"a", as_layer(conv)}, {"b", as_layer(conv)}}),
              HasSubstr("layers a and b hold the same module"));
}

TEST(SequenceTest, RefusesNamesThatClash) {
  EXPECT_THAT(build_failure({{"a", identity()}, {"a", identity()}}), HasSubstr("named a"));
  EXPECT_THAT(build_failure({{"a", identity()}, {"a.b", identity()}}), HasSubstr("layer a.b"));
  EXPECT_THAT(build_failure({{"a.b", identity()}, {"a", identity()}}), HasSubstr("layer a"));
  EXPECT_THAT(build_failure({{"a..b", identity()}}), HasSubstr("no empty part"));
  EXPECT_THAT(build_failure({{"a", nullptr}}), HasSubstr("layer a is null"));
}

TEST(SequenceTest, RefusesAtRunTimeWhatALayerDidNotDeclare) {
  const auto run = [](std::shared_ptr<Layer> liar) {
    return failure([&] { Sequence({{"liar", std::move(liar)}}).forward(torch::ones({1, 1})); });
  };
  const Liar::Act stashes = [](torch::Tensor x, SkipPort& skips) {
    skips.stash("s", x);
    return x;
  };
  EXPECT_THAT(
      run(std::make_shared<Liar>(std::vector<std::string>{}, std::vector<std::string>{}, stashes)),
      HasSubstr("layer liar stashes \"s\""));
  const Liar::Act pops = [](torch::Tensor, SkipPort& skips) { return skips.pop("s"); };
  EXPECT_THAT(
      run(std::make_shared<Liar>(std::vector<std::string>{}, std::vector<std::string>{}, pops)),
      HasSubstr("layer liar pops \"s\""));
}

TEST(SequenceTest, RefusesAtRunTimeADeclaredStashThatDidNotHappen) {
  const auto lazy =
      std::make_shared<Liar>(std::vector<std::string>{"s"}, std::vector<std::string>{},
                             [](torch::Tensor x, SkipPort&) { return x; });
  Sequence chain({{"lazy", lazy}, {"end", concat("s")}});
  EXPECT_THAT(failure([&] {
                chain.forward(torch::ones({1, 1}));
              }),
              HasSubstr("layer lazy declares the stash \"s\""));
}

TEST(SequenceTest, NamesTheLayerInWhichTorchFailed) {
  Sequence chain({{"fine", identity()},
                  {"narrow", as_layer(torch::nn::Conv3d(torch::nn::Conv3dOptions(3, 1, 1)))}});
  try {
    chain.forward(torch::ones({1, 2, 1, 1, 1}));
    FAIL() << "a convolution of 3 channels took 2";
  } catch (const c10::Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("in layer narrow"));
  }
}

TEST(SequenceTest, NestsDottedNamesAndAddsNoLevelOfItsOwn) {
  Sequence chain({{"a.conv.0", as_layer(torch::nn::Conv3d(torch::nn::Conv3dOptions(1, 2, 1)))},
                  {"b", as_layer(torch::nn::BatchNorm3d(2))},
                  {"a.conv.1", as_layer(torch::nn::Conv3d(torch::nn::Conv3dOptions(2, 1, 1)))}});
  EXPECT_THAT(chain.names(), ElementsAre("a.conv.0", "b", "a.conv.1"));
  const auto parameters = chain.named_parameters();
  for (const char* name : {"a.conv.0.weight", "a.conv.0.bias", "b.weight", "b.bias",
                           "a.conv.1.weight", "a.conv.1.bias"})
    EXPECT_TRUE(parameters.contains(name)) << name;
  EXPECT_EQ(parameters.size(), 6U);
  EXPECT_TRUE(chain.named_buffers().contains("b.running_mean"));
}

TEST(SequenceTest, ChainAndLayersSeeTheSameModules) {
  torch::nn::BatchNorm3d norm(2);
  Sequence chain({{"x.norm", as_layer(norm)}});
  chain.eval();
  EXPECT_FALSE(norm->is_training());
  chain.train();
  EXPECT_TRUE(norm->is_training());
  chain.to(torch::kFloat64);
  EXPECT_EQ(norm->weight.scalar_type(), torch::kFloat64);
  chain.layers()[0]->to(torch::kFloat32);
  EXPECT_EQ(chain.parameters()[0].scalar_type(), torch::kFloat32);
  EXPECT_EQ(chain.layers()[0]->parameters().size(), 2U);
}

// y = conv(x) next to x; the gradient of x is the sum of both ways.
TEST(SequenceTest, CarriesValuesAndGradientsOverSkips) {
  torch::nn::Conv3d conv(torch::nn::Conv3dOptions(1, 1, 1).bias(false));
  Sequence chain({{"stash", stash("s")}, {"conv", as_layer(conv)}, {"concat", concat("s")}});
  const torch::Tensor x = torch::randn({2, 1, 2, 2, 2}).requires_grad_();
  const torch::Tensor y = chain.forward(x);
  EXPECT_TRUE(torch::allclose(y, torch::cat({conv->forward(x), x}, 1)));
  y.sum().backward();
  const double weight = conv->weight.item<double>();
  EXPECT_TRUE(torch::allclose(x.grad(), torch::full_like(x, weight + 1)));
}

TEST(SequenceTest, SlicesGiveWhatTheWholeGives) {
  Sequence chain({{"stash", stash("s")},
                  {"conv", as_layer(torch::nn::Conv3d(torch::nn::Conv3dOptions(1, 2, 1)))},
                  {"concat", concat("s")},
                  {"double", as_layer([](torch::Tensor x) { return x * 2; })}});
  const torch::Tensor x = torch::randn({1, 1, 2, 2, 2});
  const torch::Tensor whole = chain.forward(x);
  for (std::size_t cut = 0; cut <= chain.size(); ++cut) {
    LocalSkips skips;
    const torch::Tensor half = chain.run(x, 0, cut, skips);
    EXPECT_TRUE(torch::equal(chain.run(half, cut, chain.size(), skips), whole)) << cut;
  }
}

TEST(SequenceTest, ReportsWhereSkipsComeFromAndGo) {
  const Sequence chain({{"a", stash("outer")},
                        {"b", stash("inner")},
                        {"c", concat("inner")},
                        {"d", concat("outer")}});
  ASSERT_EQ(chain.skips().size(), 2U);
  EXPECT_EQ(chain.skips()[0].name, "outer");
  EXPECT_EQ(chain.skips()[0].from, 0U);
  EXPECT_EQ(chain.skips()[0].to, 3U);
  EXPECT_EQ(chain.skips()[1].from, 1U);
  EXPECT_EQ(chain.skips()[1].to, 2U);
}

TEST(SequenceTest, LetsGoOfASkipWhenItIsPopped) {
  LocalSkips skips;
  skips.stash("s", torch::ones(1));
  EXPECT_FALSE(skips.empty());
  EXPECT_EQ(skips.pop("s").use_count(), 1U);
  EXPECT_TRUE(skips.empty());
  EXPECT_THAT(failure([&] { skips.pop("s"); }), HasSubstr("not there"));
}

TEST(SequenceTest, AppliesTheFunctionAfterAModule) {
  torch::nn::BatchNorm3d norm(1);
  Sequence chain({{"norm", as_layer(norm, [](torch::Tensor x) { return x + 5; })}});
  chain.eval();
  EXPECT_TRUE(torch::allclose(chain.forward(torch::zeros({1, 1, 1, 1, 1})),
                              torch::full({1, 1, 1, 1, 1}, 5.0)));
}

}  // namespace
}  // namespace lamp
