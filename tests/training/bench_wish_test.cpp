#include "lamp/training/bench_wish.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/size3.h"
#include "lamp/execution/plan_json.h"
#include "lamp/nets/net_factory.h"
#include "support/temporary_folder.h"

namespace lamp {
namespace {

TEST(BenchWishTest, WhatIsNotSaidIsUsual) {
  const BenchOptions options = parse_bench_wish({.net = {{"width", 4}}, .seed = 7});
  EXPECT_EQ(options.net.width, 4);
  EXPECT_EQ(options.net.classes, 10);
  EXPECT_EQ(options.input, (Size3{64, 64, 64}));
  EXPECT_EQ(options.batch, 1);
  EXPECT_EQ(options.seed, 7U);
  EXPECT_FALSE(options.window.has_value());
}

TEST(BenchWishTest, WhatIsNotSaidIsThePlans) {
  const testing::TemporaryFolder folder;
  PlanOptions wish{.input = {16, 24, 32}, .batch = 4};
  wish.net = parse_net_config({{"width", 4}, {"depth", 2}, {"classes", 3}});
  wish.execution = {.device = "cpu", .costs = "shapes"};
  write_file(folder / "plan.json", dump_json(to_json(choose_plan(wish))));
  const std::string file = (folder / "plan.json").string();
  const BenchOptions whole = parse_bench_wish({.plan = file});
  EXPECT_EQ(whole.net.classes, 3);
  EXPECT_EQ(whole.input, (Size3{16, 24, 32}));
  EXPECT_EQ(whole.batch, 4);
  EXPECT_EQ(whole.execution.device, "cpu");
  const BenchOptions other =
      parse_bench_wish({.input = "8,8,8", .batch = 2, .patch = "8,8,4", .plan = file});
  EXPECT_EQ(other.input, (Size3{8, 8, 8}));
  EXPECT_EQ(other.batch, 2);
  EXPECT_EQ(other.window->size, (Size3{8, 8, 4}));
}

TEST(BenchWishTest, WordsThatSayNothingAreRefused) {
  EXPECT_THROW(parse_bench_wish({.input = "8,8"}), UsageError);
  EXPECT_THROW(parse_bench_wish({.patch = "small"}), UsageError);
  EXPECT_THROW(parse_bench_wish({.patch = "8,8,8", .blend = "none"}), UsageError);
}

}  // namespace
}  // namespace lamp
