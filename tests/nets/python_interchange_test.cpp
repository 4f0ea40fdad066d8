// Model files to and from Python's own safetensors package, which scripts/setup installs.
#include <gtest/gtest.h>
#include <torch/types.h>

#include <string>

#include "lamp/nets/model_file.h"
#include "lamp/nets/net_factory.h"
#include "support/run_python.h"
#include "support/temporary_folder.h"

namespace lamp {
namespace {

using lamp::testing::run_python;
using lamp::testing::TemporaryFolder;

Model two_class_model() {
  Model model{.network = make_network({.width = 2, .depth = 1, .classes = 2}),
              .labels = {{0, "background"}, {1, "liver"}},
              .data = {{"spacing_mm", {1, 1, 1}}, {"window", nullptr}}};
  model.network.initialise(4);
  return model;
}

TEST(PythonInterchangeTest, PythonReadsOurModels) {
  const TemporaryFolder folder;
  const std::string file = folder / "ours.safetensors";
  const Model model = two_class_model();
  save_model(file, model);
  const torch::Tensor weight = model.network.chain->named_parameters()["decoder_1_out.weight"];
  const int status =
      run_python(folder, R"(
import json, math, sys
from safetensors import safe_open
from safetensors.numpy import load_file
tensors = load_file(sys.argv[1])
weight = tensors["decoder_1_out.weight"]
assert list(weight.shape) == [2, 1, 3, 3, 3], weight.shape
assert str(weight.dtype) == "float32"
assert weight.reshape(-1)[5] == __import__("numpy").float32(sys.argv[2]), weight.reshape(-1)[5]
assert tensors["encoder_0_Conv_adn_N.num_batches_tracked"].shape == ()
with safe_open(sys.argv[1], framework="numpy") as file:
    metadata = file.metadata()
assert metadata["format"] == "lamp-model" and metadata["version"] == "1"
config = json.loads(metadata["config"])
assert config["net"] == {"name": "unet", "width": 2, "depth": 1, "in_channels": 1, "classes": 2}
assert config["labels"] == {"0": "background", "1": "liver"}
)",
                 file + " " + c10::str(std::setprecision(9), weight.view(-1)[5].item<float>()));
  EXPECT_EQ(status, 0) << "is the safetensors package there? scripts/setup installs it";
}

TEST(PythonInterchangeTest, ModelsWrittenByPythonLoadHere) {
  const TemporaryFolder folder;
  const std::string ours = folder / "ours.safetensors";
  const std::string theirs = folder / "theirs.safetensors";
  const Model model = two_class_model();
  save_model(ours, model);
  const int status = run_python(folder, R"(
import json, sys, numpy
from safetensors.numpy import load_file, save_file
tensors = load_file(sys.argv[1])
written = {name: (tensor * 2 if tensor.dtype == numpy.float32 else tensor) for name, tensor in tensors.items()}
config = {"net": {"name": "unet", "width": 2, "depth": 1, "in_channels": 1, "classes": 2},
          "labels": {"0": "background", "1": "Leber"}, "data": {"spacing_mm": [1, 1, 1], "window": [-21, 89]}}
save_file(written, sys.argv[2], {"format": "lamp-model", "version": "1", "config": json.dumps(config)})
)",
                                ours + " " + theirs);
  ASSERT_EQ(status, 0) << "is the safetensors package there? scripts/setup installs it";
  const Model loaded = load_model(theirs);
  EXPECT_EQ(loaded.labels.at(1), "Leber");
  const auto expected = model.network.chain->named_parameters();
  for (const auto& item : loaded.network.chain->named_parameters())
    EXPECT_TRUE(torch::equal(item.value(), expected[item.key()] * 2)) << item.key();
}

}  // namespace
}  // namespace lamp
