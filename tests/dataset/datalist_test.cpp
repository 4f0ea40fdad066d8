// Three dialects of dataset.json are told apart by what they hold, and faults are named so that
// they can be mended.
#include "lamp/dataset/datalist.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "lamp/base/log.h"
#include "lamp/base/random.h"
#include "lamp/dataset/case_volumes.h"
#include "support/temporary_folder.h"

namespace lamp {
namespace {
namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class DatalistTest : public ::testing::Test {
 protected:
  void SetUp() override { set_log_level(LogLevel::kError); }

  void write(const std::string& file, const std::string& text) const {
    fs::create_directories((folder_ / file).parent_path());
    std::ofstream(folder_ / file) << text;
  }
  Dataset read(const std::string& json) const {
    write("dataset.json", json);
    return read_dataset(folder_);
  }
  // The message with which `json` is refused.
  std::string refusal(const std::string& json) const {
    try {
      read(json);
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), HasSubstr("dataset.json"));
      return error.what();
    }
    return "accepted";
  }
  std::string in_folder(const std::string& file) const { return (folder_ / file).string(); }

  const testing::TemporaryFolder temporary_;
  const fs::path folder_ = temporary_.path();
};

// Wraps entries in a sound Decathlon file.
std::string decathlon(const std::string& training, const std::string& more = "") {
  return R"({"name": "Liver", "modality": {"0": "CT"}, "labels": {"0": "background", "1": "liver", "2": "cancer"},
            "training": [)" +
         training + "]" + more + "}";
}

std::vector<std::string> names(const std::vector<Case>& cases) {
  std::vector<std::string> result;
  for (const Case& entry : cases) result.push_back(entry.name);
  return result;
}

TEST_F(DatalistTest, ReadsDecathlon) {
  write("labelsTs/c.nii.gz", "");
  const Dataset dataset =
      read(decathlon(R"({"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"},
      {"image": "./imagesTr/._a.nii.gz", "label": "./labelsTr/._a.nii.gz"},
      {"image": "./imagesTr/b.nii.gz", "label": "./labelsTr/b.nii.gz", "annotated": [2]})",
                     R"(, "test": ["./imagesTs/c.nii.gz", "./imagesTs/d.nii.gz"])"));
  EXPECT_EQ(dataset.name, "Liver");
  EXPECT_EQ(dataset.labels,
            (std::map<int, std::string>{{0, "background"}, {1, "liver"}, {2, "cancer"}}));
  EXPECT_THAT(dataset.channels, ElementsAre("CT"));
  EXPECT_THAT(names(dataset.training), ElementsAre("a", "b"));  // the Mac's ._ file is no case
  EXPECT_THAT(names(dataset.test), ElementsAre("c", "d"));
  EXPECT_EQ(dataset.training[0].images[0].string(), in_folder("imagesTr/a.nii.gz"));
  EXPECT_FALSE(dataset.training[0].annotated);
  EXPECT_THAT(*dataset.training[1].annotated, ElementsAre(2));
  EXPECT_EQ(dataset.test[0].label.string(), in_folder("labelsTs/c.nii.gz"));
  EXPECT_TRUE(dataset.test[1].label.empty());
}

constexpr const char* kNnunet =
    R"({"channel_names": {"0": "CT", "1": "PET"}, "labels": {"background": 0, "tumour": 1},
                                   "numTraining": 2, "file_ending": ".nii.gz"})";

TEST_F(DatalistTest, ReadsNnunet) {
  for (const char* file : {"a_0000.nii.gz", "a_0001.nii.gz", "b_0000.nii.gz", "b_0001.nii.gz",
                           "._b_0000.nii.gz", "x.txt"})
    write(std::string("imagesTr/") + file, "");
  for (const char* file : {"imagesTs/t_0000.nii.gz", "imagesTs/t_0001.nii.gz", "labelsTs/t.nii.gz"})
    write(file, "");
  const Dataset dataset = read(kNnunet);
  EXPECT_EQ(dataset.labels, (std::map<int, std::string>{{0, "background"}, {1, "tumour"}}));
  EXPECT_THAT(dataset.channels, ElementsAre("CT", "PET"));
  EXPECT_THAT(names(dataset.training), ElementsAre("a", "b"));
  EXPECT_THAT(dataset.training[1].images,
              ElementsAre(folder_ / "imagesTr/b_0000.nii.gz", folder_ / "imagesTr/b_0001.nii.gz"));
  EXPECT_EQ(dataset.training[1].label, folder_ / "labelsTr/b.nii.gz");
  EXPECT_THAT(names(dataset.test), ElementsAre("t"));
  EXPECT_EQ(dataset.test[0].label, folder_ / "labelsTs/t.nii.gz");
}

TEST_F(DatalistTest, ReadsNnunetsTableOfCases) {
  const Dataset dataset = read(
      R"({"channel_names": {"0": "CT"}, "labels": {"background": 0, "tumour": 1}, "file_ending": ".nii.gz",
      "dataset": {"c1": {"images": ["x/a.nii.gz"], "label": "y/b.nii.gz"}}})");
  ASSERT_THAT(names(dataset.training), ElementsAre("c1"));
  EXPECT_EQ(dataset.training[0].label, folder_ / "y/b.nii.gz");
}

TEST_F(DatalistTest, ReadsMonaiDatalists) {
  const Dataset dataset = read(R"({"labels": {"0": "background", "1": "tumour"},
      "training": [{"image": ["p/t1.nii.gz", "p/t2.nii.gz"], "label": "p/seg.nii.gz", "fold": 3},
                   {"image": "q/t1.nii.gz", "label": "q/seg.nii.gz", "fold": 0}],
      "validation": [{"image": "r/x.nii.gz", "label": "r/seg.nii.gz"}], "testing": [{"image": "s/y.nii.gz"}]})");
  EXPECT_EQ(dataset.training[0].images.size(), 2U);
  EXPECT_EQ(dataset.training[0].fold, 3);
  EXPECT_THAT(names(dataset.training),
              ElementsAre("p_t1", "q_t1"));  // the folder tells files of one name apart
  EXPECT_THAT(names(dataset.validation), ElementsAre("x"));
  EXPECT_THAT(names(dataset.test), ElementsAre("y"));
}

TEST_F(DatalistTest, TakesLabelsFromTheLabelMapsOfADatalistWithoutThem) {
  Volume label{.geometry = {.size = {4, 4, 4}},
               .voxels = torch::zeros({1, 4, 4, 4}, torch::kUInt8)};
  label.voxels[0][1][1][1] = 2;
  write_volume(folder_ / "l.nii.gz", label);
  const Dataset dataset = read(R"({"training": [{"image": "i.nii.gz", "label": "l.nii.gz"}]})");
  EXPECT_EQ(dataset.labels.size(), 3U);
}

TEST_F(DatalistTest, TakesTheOnlyJsonOfAFolderOrTheFileItself) {
  write("my_list.json", decathlon(R"({"image": "a.nii.gz", "label": "b.nii.gz"})"));
  EXPECT_EQ(read_dataset(folder_).training.size(), 1U);
  EXPECT_EQ(read_dataset(folder_ / "my_list.json").training.size(), 1U);
}

TEST_F(DatalistTest, SaysWhatAFolderWithoutDatasetJsonHolds) {
  write("imagesTr/a.nii.gz", "");
  write("readme.txt", "");
  try {
    read_dataset(folder_);
    FAIL();
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), HasSubstr("imagesTr/, readme.txt"));
  }
  EXPECT_THROW(read_dataset(folder_ / "nowhere"), InputError);
}

TEST_F(DatalistTest, RefusesUnusableLabels) {
  const auto with = [](const std::string& labels) {
    return R"({"training": [], "labels": )" + labels + "}";
  };
  EXPECT_THAT(refusal(with(R"({"0": "background", "1": "a", "3": "b"})")), HasSubstr("0, 1, 3"));
  EXPECT_THAT(refusal(with(R"({"1": "a", "2": "b"})")), HasSubstr("background"));
  EXPECT_THAT(refusal(with(R"({"background": 0, "whole": [1, 2]})")), HasSubstr("regions"));
  EXPECT_THAT(refusal(with(R"({"background": 0, "a": 1, "ignore": 2})")), HasSubstr("ignore"));
  EXPECT_THAT(refusal(with(R"({"background": 0, "a": 1, "b": 1})")), HasSubstr("twice"));
  EXPECT_THAT(refusal(with(R"({"0": "background", "1": "a", "2": "a"})")), HasSubstr("twice"));
  EXPECT_THAT(refusal(with(R"({"0": "background"})")), HasSubstr("no labels"));
  EXPECT_THAT(refusal(with("[1, 2]")), HasSubstr("no labels"));
  EXPECT_THAT(refusal(with(R"({"background": 0, "a": 1.5})")), HasSubstr("1.5"));
  EXPECT_THAT(refusal(with(R"({"background": -1, "a": 99999999999})")), ::testing::Not("accepted"));
}

TEST_F(DatalistTest, NamesTheNearestKey) {
  EXPECT_THAT(refusal(decathlon(R"({"image": "a.nii.gz", "lable": "b.nii.gz"})")),
              HasSubstr("\"lable\""));
  EXPECT_THAT(refusal(R"({"lables": {"0": "background", "1": "a"}, "training": []})"),
              HasSubstr("is \"lables\" meant"));
}

TEST_F(DatalistTest, RefusesMalformedEntriesAndSaysWhichOne) {
  const std::string good = R"({"image": "a.nii.gz", "label": "b.nii.gz"})";
  EXPECT_THAT(refusal(decathlon(good + ", 7")), HasSubstr("training[1]"));
  EXPECT_THAT(refusal(decathlon(R"({"image": 7, "label": "b"})")), HasSubstr("training[0]"));
  EXPECT_THAT(refusal(decathlon(R"({"image": [], "label": "b"})")), HasSubstr("without images"));
  EXPECT_THAT(refusal(decathlon(R"({"image": "a", "label": null})")), HasSubstr("label"));
  EXPECT_THAT(refusal(decathlon(R"({"image": "a", "label": "b", "fold": "x"})")),
              HasSubstr("fold"));
  EXPECT_THAT(refusal(decathlon(R"({"image": "a", "label": "b", "annotated": [1, 9]})")),
              HasSubstr("annotated"));
  EXPECT_THAT(refusal(decathlon(R"({"image": "a", "label": "b", "annotated": 1})")),
              HasSubstr("annotated"));
  // It would teach nothing; read as "all annotated" it would teach background.
  EXPECT_THAT(refusal(decathlon(R"({"image": "a", "label": "b", "annotated": []})")),
              HasSubstr("nothing was annotated"));
  EXPECT_THAT(refusal(decathlon(R"({"image": "a", "label": "b", "annotated": [0]})")),
              HasSubstr("nothing was annotated"));
  EXPECT_THAT(refusal(decathlon(good + "," + good)), HasSubstr("twice"));
}

TEST_F(DatalistTest, RefusesWhatIsNoDataSet) {
  EXPECT_THAT(refusal("{"), HasSubstr("dataset.json"));
  EXPECT_THAT(refusal(""), ::testing::Not("accepted"));
  EXPECT_THAT(refusal("[1]"), HasSubstr("object"));
  EXPECT_THAT(refusal("{}"), HasSubstr("no labels"));
  EXPECT_THAT(refusal(decathlon("")), HasSubstr("without cases"));
  EXPECT_THAT(refusal(R"({"labels": {"0": "background", "1": "a"}, "training": {}})"),
              HasSubstr("list"));
  EXPECT_THAT(refusal(R"({"labels": {"background": 0, "a": 1}, "file_ending": ".nii.gz"})"),
              HasSubstr("imagesTr"));
}

TEST_F(DatalistTest, SaysWhyAnNnunetFolderGivesNoCases) {
  write("imagesTr/a_0000.nii", "");
  EXPECT_THAT(refusal(kNnunet), HasSubstr("a_0000.nii"));
  EXPECT_THAT(refusal(R"({"labels": {"background": 0, "a": 1}})"), HasSubstr("file_ending"));
}

TEST_F(DatalistTest, RefusesAnNnunetCaseWithoutAllChannels) {
  write("imagesTr/a_0001.nii.gz", "");
  write("dataset.json", kNnunet);
  try {
    read_dataset(folder_);
    FAIL();
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), HasSubstr("channels 1 of case a"));
  }
}

TEST_F(DatalistTest, CollectsFaultsOfEntriesAndKeepsTheOthers) {
  write("dataset.json",
        decathlon(R"(7, {"image": "a.nii.gz", "label": "a.nii.gz"}, {"image": "b.nii.gz"},
                                    {"image": "c.nii.gz", "label": "c.nii.gz", "annotated": [1, 5]})"));
  std::vector<Fault> faults;
  EXPECT_THAT(names(read_dataset(folder_, &faults).training), ElementsAre("a", "c"));
  EXPECT_EQ(faults.size(), 3U);
}

TEST_F(DatalistTest, ReadsOrRefusesAnyDamagedFile) {
  const std::string sound =
      decathlon(R"({"image": "a.nii.gz", "label": "a.nii.gz", "fold": 1, "annotated": [1]})",
                R"(, "test": ["b.nii.gz"], "numTraining": 1)");
  Random random({1});
  int refused = 0;
  for (int i = 0; i < 400; ++i) {
    std::string damaged = sound;
    const auto at = static_cast<std::size_t>(random.below(static_cast<std::int64_t>(sound.size())));
    if (i % 2)
      damaged.resize(at);
    else
      damaged[at] = "\"{}[]:,x0-"[random.below(11)];
    write("dataset.json", damaged);
    std::vector<Fault> faults;
    try {
      read_dataset(folder_, i % 3 ? &faults : nullptr);
    } catch (const InputError&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 200);  // every truncation at least
}

class CaseVolumesTest : public DatalistTest {
 protected:
  Volume volume(float value, std::int64_t width = 6) const {
    return {.geometry = {.size = {width, 5, 4}, .spacing_mm = {1, 1, 2}},
            .voxels = torch::full({1, 4, 5, width}, value)};
  }
};

TEST_F(CaseVolumesTest, StacksTheChannelsOfSeveralFiles) {
  write_volume(folder_ / "a.nii.gz", volume(1));
  write_volume(folder_ / "b.nii.gz", volume(2));
  const Volume image =
      read_case_image({.name = "x", .images = {folder_ / "a.nii.gz", folder_ / "b.nii.gz"}});
  EXPECT_EQ(image.voxels.sizes(), (std::vector<std::int64_t>{2, 4, 5, 6}));
  EXPECT_EQ(image.voxels[1].mean().item<float>(), 2);
}

TEST_F(CaseVolumesTest, RefusesChannelsOnDifferentGrids) {
  Volume shifted = volume(2);
  shifted.geometry.origin_mm[0] = 0.02;
  write_volume(folder_ / "a.nii.gz", volume(1));
  write_volume(folder_ / "b.nii.gz", shifted);
  EXPECT_THROW(
      read_case_image({.name = "x", .images = {folder_ / "a.nii.gz", folder_ / "b.nii.gz"}}),
      InputError);
}

TEST_F(CaseVolumesTest, RefusesALabelWithUndeclaredValuesOrOnAnotherGrid) {
  const Dataset dataset{.file = "dataset.json", .labels = {{0, "background"}, {1, "liver"}}};
  Volume label = volume(0);
  label.voxels = label.voxels.to(torch::kUInt8);
  label.voxels[0][0][0][0] = 1;
  write_volume(folder_ / "i.nii.gz", volume(0));
  write_volume(folder_ / "l.nii.gz", label);
  const Case entry{.name = "x", .images = {folder_ / "i.nii.gz"}, .label = folder_ / "l.nii.gz"};
  EXPECT_EQ(read_case_label(entry, dataset).voxels.sum().item<int>(), 1);
  label.voxels[0][0][0][1] = 7;
  write_volume(folder_ / "l.nii.gz", label);
  try {
    read_case_label(entry, dataset);
    FAIL();
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), HasSubstr("7 (1 voxels)"));
  }
  write_volume(folder_ / "i.nii.gz", volume(0, 7));
  EXPECT_THROW(read_case_label(entry, dataset), InputError);
}

TEST(CountValuesTest, CountsEveryValueOnce) {
  const torch::Tensor label = torch::tensor({0, 0, 3, 3, 0, -2, 3}, torch::kInt16);
  EXPECT_EQ(count_values(label), (std::map<std::int64_t, std::int64_t>{{-2, 1}, {0, 3}, {3, 3}}));
}

}  // namespace
}  // namespace lamp
