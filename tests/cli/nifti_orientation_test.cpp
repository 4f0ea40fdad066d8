// --orientation at every command that reads images or label maps of strangers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include "convert/prepare_samples.h"
#include "formats/nifti_samples.h"
#include "lamp/base/json.h"
#include "lamp/formats/gzip.h"
#include "support/run_program.h"

namespace lamp {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::ProgramResult;
using testing::run_lamp;

class NiftiOrientationTest : public NiftiSamples {
 protected:
  // Rewrites a file so that its qform lies 3 mm beside its sform under the same code.
  static void contradict(const fs::path& path) {
    const Volume volume = read_label(path);
    const fs::path plain = path.parent_path() / "plain.nii";
    write_volume(plain, volume);
    std::string bytes = read_file(plain);
    fs::remove(plain);
    float x = 0;
    std::memcpy(&x, bytes.data() + kQoffset, sizeof x);
    testing::written(path, gzip(changed(bytes, kQoffset, x + 3), 1));
  }
  std::string contradictory(const std::string& name) {
    Volume volume = straight();
    volume.voxels = (volume.voxels > 0).to(torch::kUInt8);
    write_volume(folder_ / name, volume);
    contradict(folder_ / name);
    return "'" + (folder_ / name).string() + "'";
  }
};

TEST_F(NiftiOrientationTest, CheckRefusesOrDoesAsTold) {
  const std::string scan = contradictory("scan.nii.gz");
  const ProgramResult refused = run_lamp("check " + scan);
  EXPECT_EQ(refused.exit_code, 3);
  EXPECT_THAT(refused.err, HasSubstr("--orientation sform or qform"));
  double x[2] = {};
  for (const std::string form : {"sform", "qform"}) {
    const ProgramResult told = run_lamp("check --json --orientation " + form + " " + scan);
    EXPECT_EQ(told.exit_code, 0) << told.err;
    EXPECT_THAT(told.err, AllOf(HasSubstr("scan.nii.gz"),
                                HasSubstr("the " + form + " is used as asked for")));
    x[form == "qform"] = Json::parse(told.out)["case_facts"][0]["origin_mm"][0].get<double>();
  }
  EXPECT_NEAR(x[0] - x[1], 3, 1e-4);  // NIfTI's x points to the right, LPS's to the left
}

TEST_F(NiftiOrientationTest, EvaluateComparesByTheFormAskedFor) {
  const std::string map = contradictory("map.nii.gz");
  const std::string arguments =
      "evaluate -p " + map + " -r " + map + " -o '" + (folder_ / "summary.json").string() + "'";
  EXPECT_EQ(run_lamp(arguments).exit_code, 3);
  const ProgramResult told = run_lamp(arguments + " --orientation qform");
  EXPECT_EQ(told.exit_code, 0) << told.err;
  EXPECT_THAT(told.out, HasSubstr("1.0000"));
  EXPECT_THAT(told.err, HasSubstr("the qform is used"));
}

TEST_F(NiftiOrientationTest, PrepareCopiesWhatTheOptionDecides) {
  testing::write_liver_task(folder_ / "liver", 3);
  fs::path image;
  for (const auto& entry : fs::directory_iterator(folder_ / "liver/labelsTr")) {
    contradict(entry.path());
    image = folder_ / "liver/imagesTr" / entry.path().filename();
    break;
  }
  contradict(image);
  const auto prepare = [&](const std::string& name, const std::string& option) {
    return run_lamp("prepare --from decathlon '" + (folder_ / "liver").string() + "' -o '" +
                    (folder_ / name).string() + "' --test 1 " + option);
  };
  const ProgramResult refused = prepare("a", "");
  EXPECT_EQ(refused.exit_code, 4);
  EXPECT_THAT(refused.err, HasSubstr("--orientation"));
  const ProgramResult told = prepare("b", "--orientation sform");
  EXPECT_EQ(told.exit_code, 0) << told.err;
  EXPECT_THAT(told.err, HasSubstr("the sform is used as asked for"));
}

TEST_F(NiftiOrientationTest, AnotherWordIsAUsageError) {
  const ProgramResult wrong = run_lamp("check --orientation LPS x.nii");
  EXPECT_EQ(wrong.exit_code, 2);
  EXPECT_THAT(wrong.err, AllOf(HasSubstr("LPS"), HasSubstr("expected sform, qform")));
  for (const char* command : {"check", "segment", "evaluate", "prepare"})
    EXPECT_THAT(run_lamp(std::string(command) + " --help").out, HasSubstr("--orientation"));
}

// What no memory holds has the right exit code, and is no damage where it may be none.
TEST_F(NiftiOrientationTest, AFileOfNoRealSizeCostsNothing) {
  std::string bytes = bytes_of_file(straight());
  for (int axis = 1; axis <= 3; ++axis)
    bytes = changed<std::int16_t>(bytes, kDim + 2 * axis, 12000);
  bytes = changed<std::int16_t>(changed<std::int16_t>(bytes, kDatatype, 2), kBitpix, 8);
  const fs::path path = file(bytes, "huge.nii");
  fs::resize_file(path, 352 + 12000ULL * 12000 * 12000);
  const ProgramResult checked = run_lamp("check '" + path.string() + "'", "ulimit -v 8000000;");
  EXPECT_EQ(checked.exit_code, 3);
  EXPECT_THAT(checked.err, AllOf(HasSubstr("larger than the memory"), HasSubstr("are available"),
                                 Not(HasSubstr("repair"))));
}

}  // namespace
}  // namespace lamp
