// What is written comes back, and what is no whole model is refused with a reason, whatever bytes
// it holds.
#include "lamp/nets/model_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <fstream>
#include <functional>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/nets/net_factory.h"
#include "support/fault_of.h"
#include "support/temporary_folder.h"

namespace lamp {
namespace {

using lamp::testing::TemporaryFolder;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

Model small_model() {
  Model model{.network = make_network({.width = 2, .depth = 1, .classes = 2}),
              .labels = {{0, "background"}, {1, "liver"}},
              .data = {{"spacing_mm", {1, 1, 2.5}}, {"window", {-21, 89}}}};
  model.network.initialise(4);
  return model;
}

std::string refusal_of(const std::function<void()>& act) {
  try {
    act();
  } catch (const InputError& error) {
    return error.what();
  }
  return "accepted";
}

class ModelFileTest : public ::testing::Test {
 protected:
  // The small model with its content changed before it is written.
  std::string refusal_after(const std::function<void(SafeTensors&)>& change) {
    save_model(file_, small_model());
    SafeTensors content = read_safetensors(file_);
    change(content);
    write_safetensors(file_, content);
    return refusal_of([&] { load_model(file_); });
  }
  std::string refusal_of_config(const std::function<void(Json&)>& change) {
    return refusal_after([&](SafeTensors& content) {
      Json config = Json::parse(content.metadata["config"]);
      change(config);
      content.metadata["config"] = config.dump();
    });
  }

  TemporaryFolder folder_;
  std::filesystem::path file_ = folder_ / "model.safetensors";
};

TEST_F(ModelFileTest, ARefusalHasItsParts) {
  save_model(file_, small_model());
  SafeTensors content = read_safetensors(file_);
  content.metadata["version"] = "2";
  write_safetensors(file_, content);
  const Fault fault = testing::fault_of<InputError>([&] { load_model(file_); });
  EXPECT_EQ(fault.file, file_.string());
  EXPECT_EQ(fault.what, "not a usable model");
  EXPECT_EQ(fault.found, "format version \"2\"");
  EXPECT_EQ(fault.expected, "version 1, which this program reads");
  EXPECT_NE(fault.fix, "");
}

TEST_F(ModelFileTest, GivesBackWhatWasSaved) {
  Model model = small_model();
  model.provenance = {{"seed", 4}};
  model.network.chain->named_buffers()["encoder_0_Conv_adn_N.running_mean"].fill_(0.25);
  save_model(file_, model);
  const Model loaded = load_model(file_);
  EXPECT_EQ(model_config(loaded), model_config(model));
  EXPECT_EQ(loaded.labels, model.labels);
  EXPECT_FALSE(loaded.network.chain->is_training());
  const auto expected = model.network.chain->named_parameters();
  for (const auto& item : loaded.network.chain->named_parameters())
    EXPECT_TRUE(torch::equal(item.value(), expected[item.key()])) << item.key();
  EXPECT_EQ(
      loaded.network.chain->named_buffers()["encoder_0_Conv_adn_N.running_mean"][0].item<float>(),
      0.25F);
}

TEST_F(ModelFileTest, BearsTheDocumentedMetadata) {
  save_model(file_, small_model());
  const auto metadata = read_safetensors(file_).metadata;
  EXPECT_EQ(metadata.at("format"), "lamp-model");
  EXPECT_EQ(metadata.at("version"), "1");
  const Json config = Json::parse(metadata.at("config"));
  EXPECT_EQ(config["net"]["name"], "unet");
  EXPECT_EQ(config["net"]["in_channels"], 1);
  EXPECT_EQ(config["labels"]["1"], "liver");
  EXPECT_EQ(config["data"]["window"], Json({-21, 89}));
}

TEST_F(ModelFileTest, ARunFolderGivesItsBestElseItsLastModel) {
  EXPECT_THAT(refusal_of([&] { load_model(folder_.path()); }),
              HasSubstr("neither best.safetensors"));
  Model model = small_model();
  model.labels[1] = "last";
  save_model(folder_ / "last.safetensors", model);
  EXPECT_EQ(load_model(folder_.path()).labels.at(1), "last");
  model.labels[1] = "best";
  save_model(folder_ / "best.safetensors", model);
  EXPECT_EQ(load_model(folder_.path()).labels.at(1), "best");
}

TEST_F(ModelFileTest, AFolderWithoutModelIsNamedForWhatItIs) {
  const auto refusal = [&] { return refusal_of([&] { load_model(folder_.path()); }); };
  EXPECT_THAT(refusal(), HasSubstr("name a run folder or a model"));
  std::ofstream(folder_ / "dataset.json") << "{}";
  EXPECT_THAT(refusal(),
              HasSubstr("found a data set, expected a run folder or a model; lamp check"));
  std::ofstream(folder_ / "config.json") << "{}";  // a run's, with the data's list of earlier lamps
  EXPECT_THAT(refusal(), HasSubstr("wait until its training has saved something"));
}

TEST_F(ModelFileTest, RefusesAMissingFile) {
  EXPECT_THAT(refusal_of([&] { load_model(folder_ / "absent.safetensors"); }), HasSubstr("absent"));
}

TEST_F(ModelFileTest, NamesUpToThreeMissingTensors) {
  const std::string message = refusal_after([](SafeTensors& content) {
    for (const char* name : {"encoder_0_Conv_conv.weight", "decoder_1_out.bias",
                             "decoder_1_out.weight", "decoder_0_Conv1x1x1.bias"})
      content.tensors.erase(name);
  });
  EXPECT_THAT(message, AllOf(HasSubstr("missing: decoder_0_Conv1x1x1.bias, decoder_1_out.bias, "),
                             HasSubstr("and 1 more"), HasSubstr(file_.string())));
}

TEST_F(ModelFileTest, NamesUnexpectedMisshapenAndNonFiniteTensors) {
  EXPECT_THAT(refusal_after([](SafeTensors& c) { c.tensors["extra"] = torch::ones(1); }),
              HasSubstr("unexpected: extra"));
  EXPECT_THAT(
      refusal_after([](SafeTensors& c) { c.tensors["decoder_1_out.bias"] = torch::ones(7); }),
      HasSubstr("decoder_1_out.bias (found [7], expected [2])"));
  EXPECT_THAT(refusal_after([](SafeTensors& c) {
                c.tensors["decoder_1_out.bias"] = torch::ones(2, torch::kInt64);
              }),
              HasSubstr("of another shape or type"));
  EXPECT_THAT(refusal_after([](SafeTensors& c) { c.tensors["decoder_1_out.bias"][0] = NAN; }),
              HasSubstr("not finite"));
}

TEST_F(ModelFileTest, LeavesTheNetworkUnchangedWhenItRefuses) {
  Model model = small_model();
  save_model(file_, model);
  SafeTensors content = read_safetensors(file_);
  for (auto& [name, tensor] : content.tensors) tensor.zero_();
  content.tensors.erase("decoder_1_out.weight");
  EXPECT_THAT(refusal_of([&] { load_weights(model.network, content, file_); }),
              HasSubstr("missing"));
  EXPECT_GT(model.network.chain->parameters()[0].abs().max().item<float>(), 0);
}

TEST_F(ModelFileTest, TakesHalfPrecisionWeightsAndWeightsWithoutBatchCounts) {
  EXPECT_EQ(refusal_after([](SafeTensors& content) {
              std::erase_if(content.tensors, [](const auto& item) {
                return item.first.ends_with("num_batches_tracked");
              });
              for (auto& [name, tensor] : content.tensors) tensor = tensor.to(torch::kHalf);
            }),
            "accepted");
  EXPECT_EQ(load_model(file_).network.chain->parameters()[0].scalar_type(), torch::kFloat32);
}

TEST_F(ModelFileTest, RefusesMetadataThatIsNoModels) {
  EXPECT_THAT(refusal_after([](SafeTensors& c) { c.metadata.clear(); }), HasSubstr("lamp-model"));
  EXPECT_THAT(refusal_after([](SafeTensors& c) { c.metadata["version"] = "2"; }),
              HasSubstr("version \"2\""));
  EXPECT_THAT(refusal_after([](SafeTensors& c) { c.metadata["config"] = "{"; }), Not("accepted"));
  EXPECT_THAT(refusal_of_config([](Json& c) { c.erase("net"); }), HasSubstr("\"net\""));
  EXPECT_THAT(refusal_of_config([](Json& c) { c["net"]["name"] = "vnet"; }), HasSubstr("vnet"));
  EXPECT_THAT(refusal_of_config([](Json& c) { c["net"]["width"] = 1e300; }), HasSubstr("width"));
  EXPECT_THAT(refusal_of_config([](Json& c) { c["net"]["width"] = 1024; }),
              HasSubstr("expected more than"));
  EXPECT_THAT(refusal_of_config([](Json& c) { c["net"]["depth"] = 8; }),
              HasSubstr("expected more"));
  EXPECT_THAT(refusal_of_config([](Json& c) {
                c["labels"] = {{"0", "a"}};
              }),
              HasSubstr("1 labels for 2 classes"));
  EXPECT_THAT(refusal_of_config([](Json& c) {
                c["labels"] = {{"0", "a"}, {"one", "b"}};
              }),
              HasSubstr("\"one\""));
  EXPECT_THAT(refusal_of_config([](Json& c) {
                c["labels"] = {{"0", "a"}, {"1", 5}};
              }),
              HasSubstr("\"1\""));
}

TEST_F(ModelFileTest, RefusesLabelsThatNoFormatCouldHold) {
  const auto with_label = [this](const std::string& id, const std::string& name) {
    return refusal_of_config([&](Json& c) {
      c["labels"] = {{"0", "background"}};
      c["labels"][id] = name;
    });
  };
  EXPECT_EQ(with_label("32767", "liver"), "accepted");
  EXPECT_EQ(with_label("1", "a, \"quoted\" name"), "accepted");
  for (const char* id :
       {"32768", "65535", "2000000000", "2147483648", "-1", "99999999999999999999"})
    EXPECT_THAT(with_label(id, "liver"), HasSubstr(std::string("label \"") + id)) << id;
  EXPECT_THAT(with_label("2000000000", "liver"), HasSubstr("expected 0 to 32767"));
  EXPECT_THAT(with_label("00", "liver"), HasSubstr("twice"));
  EXPECT_THAT(refusal_of_config([](Json& c) {
                c["labels"] = {{"1", "liver"}, {"2", "tumour"}};
              }),
              HasSubstr("no label 0"));
  EXPECT_THAT(with_label("1", std::string(1 << 20, 'a')), HasSubstr("1048576 bytes"));
  for (const char* name : {"\x1b[31mliver", "two\nlines", "a\ttab", "a\rreturn", "a\x7f"})
    EXPECT_THAT(with_label("1", name), HasSubstr("without control characters"));
  EXPECT_THAT(with_label("1", std::string("a\0b", 3)), HasSubstr("without control characters"));
  EXPECT_THAT(with_label("1", ""), HasSubstr("an empty name"));
  EXPECT_THAT(with_label("1", "background"), HasSubstr("the name twice"));  // volumes go by name
}

TEST_F(ModelFileTest, RefusesSizesThatItsWeightsContradictBeforeAnyMemoryIsTaken) {
  const auto with_net = [this](const char* key, const Json& value) {
    return refusal_of_config([&](Json& c) {
      c["net"][key] = value;
      if (std::string(key) == "classes" && value.is_number_integer()) {
        for (int id = 0; id < value.get<int>() && id < 32768; ++id)
          c["labels"][std::to_string(id)] = "label";
      }
    });
  };
  EXPECT_THAT(with_net("classes", 32768), HasSubstr("32768 classes"));
  EXPECT_THAT(with_net("in_channels", 1024), HasSubstr("1024 channels"));
  for (const char* key : {"classes", "in_channels", "width", "depth"}) {
    for (const Json& value : {Json(1000000000000), Json(0), Json(-1), Json("2"), Json(1e300)})
      EXPECT_THAT(with_net(key, value), HasSubstr(key)) << key << " " << value;
  }
}

TEST_F(ModelFileTest, KeepsWhatTrainingMirroredAndSaw) {
  Model model = small_model();
  save_model(file_, model);
  EXPECT_FALSE(load_model(file_).mirrored_axes.has_value()) << "unknown";
  EXPECT_TRUE(load_model(file_).intensities.is_null());
  model.mirrored_axes = std::vector<int>{0, 2};
  model.intensities = {{"channels", Json::array()}};
  save_model(file_, model);
  EXPECT_EQ(Json::parse(read_safetensors(file_).metadata.at("config"))["mirrored_axes"],
            Json::array({"x", "z"}));
  EXPECT_EQ(load_model(file_).mirrored_axes, (std::vector<int>{0, 2}));
  EXPECT_EQ(load_model(file_).intensities, model.intensities);
  model.mirrored_axes = std::vector<int>{};
  save_model(file_, model);
  EXPECT_TRUE(load_model(file_).mirrored_axes->empty()) << "none is another thing than unknown";
  for (const Json& axes :
       {Json("x"), Json::array({0}), Json::array({"w"}), Json::parse(R"({"x": 1})")})
    EXPECT_THAT(refusal_of_config([&](Json& c) { c["mirrored_axes"] = axes; }),
                HasSubstr("mirrored_axes"))
        << axes;
}

TEST_F(ModelFileTest, SavesNoModelWhoseLabelsDoNotFit) {
  Model model = small_model();
  model.labels.erase(1);
  EXPECT_THROW(save_model(file_, model), c10::Error);
  EXPECT_FALSE(std::filesystem::exists(file_));
}

TEST_F(ModelFileTest, NeverCrashesOnChangedBytes) {
  save_model(file_, small_model());
  const std::string bytes = read_file(file_);
  torch::manual_seed(11);
  const std::size_t header =
      8 + static_cast<unsigned char>(bytes[0]) + 256 * static_cast<unsigned char>(bytes[1]);
  int refused = 0;
  for (int i = 0; i < 300; ++i) {
    std::string changed = bytes;
    const auto at = static_cast<std::size_t>(
        torch::randint(static_cast<std::int64_t>(header), {1}).item<std::int64_t>());
    changed[at] = static_cast<char>(torch::randint(256, {1}).item<std::int64_t>());
    std::ofstream(file_, std::ios::binary) << changed;
    if (refusal_of([&] { load_model(file_); }) != "accepted")
      ++refused;  // any other exception fails the test
  }
  EXPECT_GT(refused, 100);  // a changed label or spacing is still a model
}

}  // namespace
}  // namespace lamp
