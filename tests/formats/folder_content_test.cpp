// One rule for what a folder holds.
#include "lamp/formats/folder_content.h"

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <torch/types.h>

#include "formats/dicom_fixture.h"
#include "lamp/dataset/dataset_check.h"

namespace lamp {
namespace {

namespace fs = std::filesystem;
using lamp::testing::DicomEncoding;
using lamp::testing::written;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class FolderContentTest : public lamp::testing::DicomFixture {
 protected:
  void touch(const std::string& name) const {
    fs::create_directories((folder_ / name).parent_path());
    written(folder_ / name, "x");
  }
  void write_series(const std::string& name, int from = 0, int to = kSlices,
                    const std::string& uid = "", DicomEncoding encoding = {}) const {
    fs::create_directories(folder_ / name);
    for (int k = from; k < to; ++k) {
      testing::DicomSlice next = slice(k);
      next.series = uid.empty() ? "1.2." + std::to_string(name.size()) : uid;
      next.encoding = encoding;
      testing::write_dicom(folder_ / name / ("IM" + std::to_string(100 + k)), next);
    }
  }
  std::vector<std::string> volumes() const {
    std::vector<std::string> names;
    for (const fs::path& file : list_folder(folder_).volumes)
      names.push_back(file == folder_ ? "." : file.lexically_relative(folder_).string());
    return names;
  }
  std::map<std::string, std::string> left_out() const {
    std::map<std::string, std::string> reasons;
    for (const LeftOut& file : list_folder(folder_).left_out)
      reasons[file.file.lexically_relative(folder_)] = file.reason;
    return reasons;
  }
};

TEST_F(FolderContentTest, VolumesOfAllKindsStandSideBySide) {
  for (const char* name : {"b.nii.gz", "a.NRRD", "c.mhd", "c.raw", "d.nhdr", "d.raw.gz"})
    touch(name);
  write_series("dicom");
  write_series("bare", 0, 3, "1.2.3", DicomEncoding::kBareImplicit);
  write_series("no-preamble", 0, 3, "1.2.4", DicomEncoding::kNoPreamble);
  EXPECT_THAT(volumes(),
              ElementsAre("a.NRRD", "b.nii.gz", "bare", "c.mhd", "d.nhdr", "dicom", "no-preamble"));
  EXPECT_TRUE(left_out().empty());
}

TEST_F(FolderContentTest, VolumesOfOtherFormatsAreNamed) {
  touch("a.nii.gz");
  const std::vector<std::string> unread = {"b.mgz",     "b.mgh", "b.hdr",  "b.img", "b.mnc",
                                           "b.nii.bz2", "b.npy", "b.BRIK", "b.mif", "b.nii.xz"};
  for (const std::string& name : unread) touch(name);
  for (const std::string& name : unread)
    EXPECT_THAT(left_out()[name], HasSubstr("not read; convert it")) << name;
  for (const LeftOut& file : list_folder(folder_).left_out) EXPECT_TRUE(file.is_image);
  const CheckReport report = check_images({folder_});
  EXPECT_EQ(report.ignored.size(), unread.size());
  EXPECT_EQ(report.notes.size(), unread.size());
}

TEST_F(FolderContentTest, EveryOtherEntryIsNamed) {
  touch("a.nii.gz");
  touch("notes.txt");
  touch("d.raw");  // of no header
  touch("._a.nii.gz");
  touch("deep/er/b.nii.gz");
  touch("near/b.nii.gz");
  fs::create_directories(folder_ / "empty");
  fs::create_directories(folder_ / ".git");
  fs::create_directory_symlink(folder_, folder_ / "loop");
  fs::create_symlink(folder_ / "nowhere", folder_ / "gone.nii.gz");
  ASSERT_EQ(mkfifo((folder_ / "pipe.nii.gz").c_str(), 0600), 0);
  EXPECT_THAT(volumes(), ElementsAre("a.nii.gz"));
  const auto reasons = left_out();
  EXPECT_EQ(reasons.size(), 10U);
  EXPECT_EQ(reasons.at("notes.txt"), "no volume");
  EXPECT_EQ(reasons.at("d.raw"), "no volume");
  EXPECT_EQ(reasons.at("._a.nii.gz"), "a hidden file");
  EXPECT_EQ(reasons.at(".git"), "a hidden folder");
  EXPECT_THAT(reasons.at("deep"), HasSubstr("name it to take what is in it"));
  EXPECT_THAT(reasons.at("near"), HasSubstr("name it to take what is in it"));
  EXPECT_EQ(reasons.at("empty"), "a folder without volumes");
  EXPECT_EQ(reasons.at("loop"), "a link to a folder above");
  EXPECT_THAT(reasons.at("gone.nii.gz"), HasSubstr("a broken link"));
  EXPECT_THAT(reasons.at("pipe.nii.gz"), HasSubstr("a pipe"));
}

TEST_F(FolderContentTest, SlicesAndVolumesDoNotHideEachOther) {
  write_all();
  touch("a.nii.gz");
  touch("a.mgz");
  touch("README.txt");
  write_series("below");
  EXPECT_THAT(volumes(), ElementsAre(".", "a.nii.gz", "below"));
  const auto reasons = left_out();
  EXPECT_EQ(reasons.size(), 2U);
  EXPECT_THAT(reasons.at("a.mgz"), HasSubstr("FreeSurfer"));
  EXPECT_THAT(reasons.at("README.txt"), HasSubstr("text"));
}

TEST_F(FolderContentTest, AFolderOfDamagedSlicesDoesNotVanish) {
  touch("a.nii.gz");
  fs::create_directories(folder_ / "series");
  for (int k = 0; k < 3; ++k) written(folder_ / "series" / (std::to_string(k) + ".dcm"), "");
  EXPECT_THAT(volumes(), ElementsAre("a.nii.gz", "series"));
  testing::expect_image_refused(folder_ / "series", "an empty file");
}

TEST_F(FolderContentTest, AFolderWithOnlyAnRtstructIsLeftOut) {
  write_series("ct");
  fs::create_directories(folder_ / "rs");
  testing::write_dicom(folder_ / "rs" / "1.dcm",
                       object("1.2.840.10008.5.1.4.1.1.481.3", "RTSTRUCT", "1.2.9"));
  EXPECT_THAT(volumes(), ElementsAre("ct"));
  EXPECT_THAT(left_out().at("rs"), HasSubstr("an RTSTRUCT object"));
}

TEST_F(FolderContentTest, ASeriesTornOverFoldersIsAFault) {
  write_series("a", 0, 13, "1.2.3");
  write_series("b", 13, kSlices, "1.2.3");
  const FolderContent content = list_folder(folder_);
  ASSERT_EQ(content.torn.size(), 1U);
  EXPECT_THAT(content.torn[0].found, HasSubstr("complete those of"));
  EXPECT_FALSE(check_images({folder_}).ok());
  fs::remove_all(folder_ / "b");
  write_series("b", 0, 13, "1.2.3");  // another phase
  EXPECT_TRUE(list_folder(folder_).torn.empty());
}

TEST_F(FolderContentTest, ManyFilesTakeLinearTime) {
  for (int i = 0; i < 5000; ++i) touch(std::to_string(i) + (i % 2 ? ".mhd" : ".txt"));
  const FolderContent content = list_folder(folder_);
  EXPECT_EQ(content.volumes.size(), 2500U);
  EXPECT_EQ(content.left_out.size(), 2500U);
}

TEST_F(FolderContentTest, PipesAreRefusedByName) {
  ASSERT_EQ(mkfifo((folder_ / "a.nii.gz").c_str(), 0600), 0);
  testing::expect_image_refused(folder_ / "a.nii.gz", "a pipe, expected a regular file");
  testing::expect_refused([&] { read_volume_header(folder_ / "a.nii.gz"); }, "a pipe");
  testing::expect_refused([&] { read_label(folder_ / "a.nii.gz"); }, "a pipe");
}

TEST_F(FolderContentTest, SlicesTwoLevelsBelowAreFound) {
  EXPECT_EQ(folder_of_volumes_below(folder_), "");
  const fs::path series = folder_ / "PATIENT" / "STUDY" / "SERIES";
  fs::create_directories(series);
  fs::create_directories(folder_ / "PATIENT" / ".hidden");
  EXPECT_EQ(folder_of_volumes_below(folder_), "");
  testing::write_dicom(folder_ / "PATIENT" / ".hidden" / "IM0", slice(0));
  testing::write_dicom(series / "IM0", slice(0));
  EXPECT_EQ(folder_of_volumes_below(folder_ / "PATIENT"), series);
  const Fault fault = no_volume_fault(list_folder(folder_ / "PATIENT"), folder_ / "PATIENT");
  EXPECT_EQ(fault.fix, "did you mean " + series.string() + "?");
}

}  // namespace
}  // namespace lamp
