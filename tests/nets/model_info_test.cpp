#include "lamp/nets/model_info.h"

#include <gtest/gtest.h>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/nets/model_file.h"
#include "lamp/nets/net_factory.h"
#include "support/temporary_folder.h"

namespace lamp {
namespace {

const Json kInfoNet = {{"name", "unet"}, {"width", 4}, {"depth", 2}, {"classes", 2}};

TEST(ModelInfoTest, ANetworkIsCountedWithoutAModel) {
  const NetConfig config = parse_net_config(kInfoNet);
  const Json info = describe_network(config);
  EXPECT_EQ(info["parameters"], parameter_count(make_network(config)));
  EXPECT_EQ(info["net"], to_json(config));
  EXPECT_FALSE(info.contains("file"));
}

TEST(ModelInfoTest, ARunFoldersConfigurationSaysMoreThanItsModels) {
  const testing::TemporaryFolder folder;
  Network network = make_network(parse_net_config(kInfoNet));
  save_model(folder / "best.safetensors",
             {.network = network, .labels = {{0, "background"}, {1, "liver"}}});
  const Json model = describe_model(folder / "best.safetensors");
  EXPECT_EQ(model["labels"]["1"], "liver");
  EXPECT_EQ(model["parameters"], parameter_count(network));
  EXPECT_TRUE(model["config"].contains("net"));
  write_file(folder / "config.json", R"({"curriculum": []})");
  const Json run = describe_model(folder.path());
  EXPECT_TRUE(run["config"].contains("curriculum"));
  EXPECT_EQ(run["file"], (folder / "best.safetensors").string());
  EXPECT_THROW(describe_model(folder / "none"), InputError);
}

}  // namespace
}  // namespace lamp
