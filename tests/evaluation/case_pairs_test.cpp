// No file is left out of an evaluation without a word, and none for its name alone.
#include "lamp/evaluation/case_pairs.h"

#include <gmock/gmock.h>
#include <torch/types.h>

#include <fstream>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/log.h"
#include "lamp/base/output_lock.h"
#include "lamp/base/own_output.h"
#include "lamp/evaluation/summary.h"
#include "lamp/formats/volume_io.h"
#include "lamp/preview/png.h"
#include "support/temporary_folder.h"

namespace lamp {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class CasePairsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"pred", "ref"}) fs::create_directories(folder_ / name);
  }
  void write(const std::string& name, std::int64_t channels = 1) {
    Volume volume{.voxels = torch::zeros({channels, 2, 3, 4},
                                         channels > 1 ? torch::kFloat32 : torch::kUInt8)};
    volume.geometry.size = {4, 3, 2};
    write_volume(folder_ / name, volume);
  }
  std::vector<CasePair> pairs() { return pair_cases(folder_ / "pred", folder_ / "ref"); }
  // "a+" for a case with a prediction, "b-" for one without.
  std::vector<std::string> found() {
    std::vector<std::string> names;
    for (const CasePair& pair : pairs())
      names.push_back(pair.name + (pair.prediction.empty() ? "-" : "+"));
    return names;
  }
  std::string said(const std::function<void()>& act) {
    ::testing::internal::CaptureStderr();
    act();
    return ::testing::internal::GetCapturedStderr();
  }
  testing::TemporaryFolder folder_;
};

TEST_F(CasePairsTest, AReferenceNamedLikeProbabilitiesCounts) {
  for (const char* name : {"ref/pat.nii.gz", "ref/pat_prob.nii.gz", "pred/pat.nii.gz"}) write(name);
  EXPECT_THAT(found(), ElementsAre("pat+", "pat_prob-"));
  write("pred/pat_prob.nii.gz", 3);  // the probabilities of "pat"
  EXPECT_THAT(found(), ElementsAre("pat+", "pat_prob-"));
  write("pred/pat_prob.nii.gz");  // a label map
  EXPECT_THAT(found(), ElementsAre("pat+", "pat_prob+"));
}

TEST_F(CasePairsTest, WhatIsLeftOutIsTold) {
  for (const char* name : {"ref/a.nii.gz", "pred/a.nii.gz", "pred/b.nii.gz"}) write(name);
  write("pred/a_prob.nii.gz", 2);
  for (const char* name : {"pred/segment.json", "ref/c.mgz"}) std::ofstream(folder_ / name) << "x";
  fs::create_directories(folder_ / "ref" / "more");
  const std::string text = said([&] { EXPECT_THAT(found(), ElementsAre("a+")); });
  EXPECT_THAT(text, HasSubstr("no reference for " + (folder_ / "pred/b.nii.gz").string()));
  EXPECT_THAT(text, HasSubstr("c.mgz is left out: a FreeSurfer volume"));
  EXPECT_THAT(text, HasSubstr("a_prob.nii.gz"));
  EXPECT_THAT(text, HasSubstr("segment.json"));
  EXPECT_THAT(text, HasSubstr("more"));
}

// A file of the same name that somebody else wrote is told as ever.
TEST_F(CasePairsTest, WhatLampWroteBesideLabelMapsIsNotTold) {
  for (const char* name : {"ref/a.nii.gz", "pred/a.nii.gz"}) write(name);
  write_file(folder_ / "pred/segment.json", dump_json(written_by("lamp segment", {{"cases", 1}})));
  write_file(folder_ / "pred/summary.json",
             R"({"mean": NaN, "written_by": "lamp evaluate"})");  // as Python writes it
  write_file(folder_ / "pred/metrics.csv", metrics_csv({}));
  write_file(folder_ / "pred/a.png", png_bytes(Raster(4, 3)));
  const OutputLock lock(folder_ / "pred", lock_of("a"));
  EXPECT_THAT(said([&] { pairs(); }), Not(HasSubstr("left out")));
  write_file(folder_ / "pred/segment.json", R"({"written_by": "me"})");
  write_file(folder_ / "pred/a.png", "a photo");
  write_file(folder_ / "pred/metrics.csv", "case,label\n");
  const std::string text = said([&] { pairs(); });
  EXPECT_THAT(text, HasSubstr(": a.png, metrics.csv, segment.json\n"));
}

TEST_F(CasePairsTest, AccentsMayBeWrittenInTwoWays) {
  write("ref/M\u00fcller.nii.gz");
  write("pred/Mu\u0308ller.nii.gz");
  EXPECT_THAT(found(), ElementsAre("M\u00fcller+"));
  write("pred/M\u00fcller.nii.gz");
  EXPECT_THROW(pairs(), InputError);  // one case twice
}

TEST_F(CasePairsTest, OneCaseInTwoFormatsIsRefused) {
  for (const char* name : {"ref/a.nii.gz", "ref/a.nii", "pred/a.nii.gz"}) write(name);
  EXPECT_THROW(pairs(), InputError);
}

}  // namespace
}  // namespace lamp
