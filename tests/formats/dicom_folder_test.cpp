// Every file of a DICOM folder is accounted for: read, left out by name, or the reason why the
// series is refused.
#include "lamp/formats/dicom_folder.h"

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <torch/types.h>
#include <unistd.h>

#include <functional>

#include "formats/dicom_fixture.h"
#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/dataset/check_report.h"
#include "lamp/dataset/dataset_check.h"
#include "lamp/formats/gzip.h"
#include "lamp/formats/volume_io.h"
#include "support/fault_of.h"

namespace lamp {
namespace {

namespace fs = std::filesystem;
using lamp::testing::DicomEncoding;
using lamp::testing::expect_image_refused;
using lamp::testing::written;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

class DicomFolderTest : public lamp::testing::DicomFixture {
 protected:
  fs::path last() const { return file(kSlices - 1); }
};

TEST_F(DicomFolderTest, ReadsSlicesWithAndWithoutPreambleAndMetaInformation) {
  for (const auto encoding :
       {DicomEncoding::kExplicitFile, DicomEncoding::kImplicitFile, DicomEncoding::kNoPreamble,
        DicomEncoding::kMarkOnly, DicomEncoding::kBareExplicit, DicomEncoding::kBareImplicit}) {
    write_all();
    testing::DicomSlice end = slice(kSlices - 1);
    end.encoding = encoding;
    write(end);
    expect_whole_series(folder_);
    for (int k = 0; k < kSlices; ++k) {
      testing::DicomSlice other = slice(k);
      other.encoding = encoding;
      write(other);
    }
    EXPECT_TRUE(is_volume_file(folder_));
    expect_whole_series(folder_);
    EXPECT_TRUE(read_dicom_folder(folder_).left_out.empty());
  }
}

TEST_F(DicomFolderTest, ALongHeaderIsReadWithTheRestOfItsFile) {
  write_all();
  testing::DicomSlice end = slice(kSlices - 1);
  end.more[0x00091010] = {"OB", std::string(200000, 'x')};
  write(end);
  expect_whole_series(folder_);
  const std::string whole = read_file(last());
  for (const std::size_t length : {whole.size() - 1, whole.size() - 30, std::size_t{100000}}) {
    written(last(), whole.substr(0, length));
    expect_image_refused(folder_, "IM15: the DICOM file is cut short");
  }
}

TEST_F(DicomFolderTest, AnEndSliceThatIsDamagedIsNoMissingSlice) {
  const std::string whole = testing::dicom_bytes(slice(kSlices - 1));
  const std::vector<std::pair<std::string, std::string>> contents = {
      {"", "an empty file"},
      {"<!DOCTYPE html><html>moved</html>", "an HTML page"},
      {"  \n<HTML><body>", "an HTML page"},
      {"404 not found\n", "text"},
      {std::string(300, '\0'), "zeros only"},
      {gzip(whole, 6), "gzip data"},
      {"\x89PNG\r\n", "a PNG picture"},
      {whole.substr(0, 132), "cut short"},
      {whole.substr(0, 140), "cut short"},
      {whole.substr(0, whole.size() - 1), "cut short"},
      {whole.substr(0, whole.size() / 2), "cut short"},
      {whole.substr(0, 60), "zeros only"}};
  for (const auto& [bytes, reason] : contents) {
    for (const char* extension : {"", ".dcm", ".IMA", ".7"}) {
      write_all(extension);
      written(file(kSlices - 1, extension), bytes);
      expect_image_refused(folder_, file(kSlices - 1, extension).string() + ": ");
      expect_image_refused(folder_, reason);
      for (const auto& entry : fs::directory_iterator(folder_)) fs::remove(entry);
    }
  }
}

TEST_F(DicomFolderTest, ASliceThatIsPackedOrHalfLoadedIsNamed) {
  for (const char* extension :
       {".dcm.gz", ".dcm.part", ".dcm.crdownload", ".dcm.bz2", ".zip", ".dcm.zip", ".dcm.7z",
        ".rar", ".DCM.ZIP", ".dcm.tar.gz", ".tgz", ".dcm.bak", ".dcm.opdownload", ".dcm~"}) {
    write_all(".dcm");
    fs::rename(file(kSlices - 1, ".dcm"), file(kSlices - 1, extension));
    const std::string bytes = read_file(file(kSlices - 1, extension));
    written(file(kSlices - 1, extension), gzip(bytes, 6));
    expect_image_refused(folder_, file(kSlices - 1, extension).string());
    fs::remove(file(kSlices - 1, extension));
  }
}

TEST_F(DicomFolderTest, AWholeSliceIsReadUnderADownloadsName) {
  for (const char* extension : {".dcm.part", ".crdownload", ".dcm.tmp"}) {
    write_all(".dcm");
    fs::rename(file(kSlices - 1, ".dcm"), file(kSlices - 1, extension));
    expect_whole_series(folder_);
    const std::string whole = read_file(file(kSlices - 1, extension));
    written(file(kSlices - 1, extension), whole.substr(0, whole.size() - 10));
    expect_image_refused(folder_, "the DICOM file is cut short");
    fs::remove(file(kSlices - 1, extension));
  }
}

TEST_F(DicomFolderTest, BrokenLinksAndPipesAreNamedAndNotWaitedFor) {
  write_all();
  fs::remove(last());
  fs::create_symlink(folder_ / "nowhere", last());
  expect_image_refused(folder_, "a broken link");
  fs::remove(last());
  ASSERT_EQ(mkfifo(last().c_str(), 0600), 0);
  expect_image_refused(folder_, "a pipe");
  fs::remove(last());
  fs::create_symlink(last(), last());
  expect_image_refused(folder_, "a broken link");
}

TEST_F(DicomFolderTest, ASliceThatMayNotBeReadHasOneWayOut) {
  if (geteuid() == 0) GTEST_SKIP() << "root may read everything";
  write_all();
  fs::permissions(last(), fs::perms::none);
  const CheckReport report = check_images({folder_});
  ASSERT_EQ(report.faults.size(), 1U);
  EXPECT_THAT(report.faults[0].found, HasSubstr("a slice may be missing"));
  EXPECT_EQ(report.faults[0].fix, "check the permissions (chmod), the file itself may be fine");
  EXPECT_THAT(report.faults[0].found, Not(HasSubstr("check the permissions")));
}

TEST_F(DicomFolderTest, AllDoubtfulFilesAreFaultsOfACheck) {
  write_all();
  for (const int k : {13, 14, 15}) written(file(k), "");
  written(folder_ / "README.txt", "about");
  const CheckReport report = check_images({folder_});
  std::vector<std::string> files;
  for (const Fault& fault : report.faults) files.push_back(fs::path(fault.file).filename());
  EXPECT_THAT(files, ElementsAre("IM13", "IM14", "IM15"));
  EXPECT_THAT(names(report.ignored), ElementsAre("README.txt"));
  EXPECT_THAT(to_json(report)["ignored"][0]["file"].get<std::string>(), HasSubstr("README.txt"));
  EXPECT_THAT(report.notes, ElementsAre(HasSubstr("README.txt is left out: text")));
}

TEST_F(DicomFolderTest, ALinkToAFolderOrAFileIsCheckedByItself) {
  for (const char* name : {"set", "p1"}) fs::create_directories(folder_ / name);
  for (int k = 0; k < 3; ++k) testing::write_dicom(folder_ / "p1" / std::to_string(k), slice(k));
  fs::create_directory_symlink(folder_ / "p1", folder_ / "set/link");
  fs::create_directory_symlink(folder_ / "p1", folder_ / "set/other");
  EXPECT_EQ(check_images({folder_ / "set", folder_ / "set/link/"}).cases.size(), 2U);
}

TEST_F(DicomFolderTest, ASliceNamedLikeAVolumeIsNotLeftOut) {
  write_all(".dcm");
  written(folder_ / "seg.nii", std::string(400, 'x'));
  expect_whole_series(folder_);
  for (const char* extension : {".nii", ".nii.gz", ".mha"}) {
    fs::rename(file(0, ".dcm"), file(0, extension));
    expect_image_refused(folder_, file(0, extension).string() + ": a DICOM file");
    fs::rename(file(0, extension), file(0, ".dcm"));
  }
}

TEST_F(DicomFolderTest, SlicesOfTheSeriesInAFolderBelowAreNotPassedOver) {
  write_all();
  fs::create_directories(folder_ / "more" / "deeper");
  for (const int k : {13, 14, 15})
    fs::rename(file(k), folder_ / "more/deeper" / file(k).filename());
  expect_image_refused(folder_, "more: 3 slices of the series in a folder below");
  fs::rename(folder_ / "more", folder_ / "moved");
  for (const int k : {13, 14, 15}) fs::copy(folder_ / "moved/deeper" / file(k).filename(), file(k));
  expect_whole_series(folder_);  // copies of what is here
  EXPECT_THAT(names(read_dicom_folder(folder_).left_out), ElementsAre("moved"));
}

// What to name is the folder, for an image and a list of them alike.
TEST_F(DicomFolderTest, ASliceThatIsNamedByItselfSaysToNameItsFolder) {
  write_all(".dcm");
  write(slice(0));  // without an extension
  for (const fs::path& named : {file(3, ".dcm"), file(0)}) {
    const Fault fault = testing::fault_of<InputError>([&] { read_image(named); });
    EXPECT_EQ(fault.found, "a single DICOM file");
    EXPECT_EQ(fault.fix, "name its folder, " + folder_.string());
  }
}

TEST_F(DicomFolderTest, AFolderWithoutImagesSaysWhatItHolds) {
  expect_image_refused(folder_, "no DICOM file in the folder");
  written(folder_ / "notes", "text");
  expect_image_refused(folder_, "no DICOM file in the folder");
  testing::write_dicom(folder_ / "RS", object(kClass + "481.3", "RTSTRUCT", "1.2.9"));
  fs::remove(folder_ / "notes");
  expect_image_refused(folder_, "no image series in the folder, only an RTSTRUCT object");
  EXPECT_TRUE(read_dicom_folder(folder_).holds_no_image());
}

// PS3.5, 6.2: an integer string may have a sign, zeros in front and spaces around it.
TEST_F(DicomFolderTest, OneFrameIsASliceHoweverItsNumberIsWritten) {
  for (const char* number : {"1", "01", "+1", " 1"}) {
    auto only = slice(0);
    only.more[0x00280008] = {"IS", number};
    write_all();
    write(only);
    expect_whole_series(folder_);
  }
  for (const char* number : {"0", "-1", "11", R"(1\1)", "one"}) {
    auto several = slice(0);
    several.more[0x00280008] = {"IS", number};
    write(several);
    expect_image_refused(folder_, "frames in one DICOM file");
  }
}

TEST_F(DicomFolderTest, MultiFrameObjectsStayRefused) {
  auto frames = slice(0);
  frames.more[0x00280008] = {"IS", "3"};
  testing::write_dicom(folder_ / "all", frames);
  expect_image_refused(folder_, "3 frames in one DICOM file, expected one");
  write_all();
  frames.series = "1.2.77";
  testing::write_dicom(folder_ / "all", frames);
  expect_image_refused(folder_, "2 image series");
}

TEST_F(DicomFolderTest, ThousandsOfStrangersAreAllNamed) {
  write_all(".dcm");
  for (int i = 0; i < 5000; ++i) written(folder_ / ("note" + std::to_string(i) + ".txt"), "x");
  EXPECT_EQ(read_dicom_folder(folder_).left_out.size(), 5000U);
}

}  // namespace
}  // namespace lamp
