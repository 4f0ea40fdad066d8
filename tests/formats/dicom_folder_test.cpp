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

const std::string kClass = "1.2.840.10008.5.1.4.1.1.";

class DicomFolderTest : public lamp::testing::DicomFixture {
 protected:
  std::vector<std::string> names(const std::vector<LeftOut>& files) const {
    std::vector<std::string> names;
    for (const LeftOut& file : files) names.push_back(file.file.lexically_relative(folder_));
    return names;
  }
  std::string reason_of(const std::string& name) const {
    for (const LeftOut& file : read_dicom_folder(folder_).left_out)
      if (file.file.filename() == name) return file.reason;
    return "not left out";
  }
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

TEST_F(DicomFolderTest, HarmlessStrangersAreLeftOutByName) {
  write_all(".dcm");
  const std::vector<std::string> strangers = {
      "README.txt", "README",     ".DS_Store",   "Thumbs.db", "._IM03.dcm",
      "DICOMDIR",   "notes.json", "LICENSE",     "a.pdf",     "desktop.ini",
      "notes.txt~", "README.bak", "notes.txt.gz"};
  for (const std::string& name : strangers) written(folder_ / name, "some text");
  expect_whole_series(folder_);
  const DicomFolder content = read_dicom_folder(folder_);
  EXPECT_THAT(names(content.left_out), ::testing::UnorderedElementsAreArray(strangers));
  for (const LeftOut& file : content.left_out) EXPECT_NE(file.reason, "");
}

TEST_F(DicomFolderTest, ARadiotherapyExportGivesItsImageSeries) {
  write_all();
  testing::write_dicom(folder_ / "RD", object(kClass + "481.2", "RTDOSE", "1.2.9.1"));
  testing::write_dicom(folder_ / "RI", object(kClass + "481.1", "RTIMAGE", "1.2.9.2"));
  int number = 3;
  for (const auto& [name, uid] :
       {std::pair{"RS", "481.3"}, std::pair{"RP", "481.5"}, std::pair{"SR", "88.33"},
        std::pair{"PR", "11.1"}, std::pair{"REG", "66.1"}, std::pair{"PDF", "104.1"}}) {
    auto other = object(kClass + uid, "OT", "1.2.9." + std::to_string(number++));
    for (const std::uint32_t tag : {0x7FE00010U, 0x00280010U, 0x00280011U, 0x00200032U})
      other.more[tag] = {};
    testing::write_dicom(folder_ / name, other);
  }
  testing::write_dicom(folder_ / "LABELS", object(kClass + "66.7", "OT", "1.2.9.30"));
  auto unknown = object("1.2.3.4.5", "RTSTRUCT", "1.2.9.20");
  testing::write_dicom(folder_ / "OLD", unknown);
  expect_whole_series(folder_);
  EXPECT_THAT(names(read_dicom_folder(folder_).left_out),
              ElementsAre("LABELS", "OLD", "PDF", "PR", "RD", "REG", "RI", "RP", "RS", "SR"));
  EXPECT_THAT(reason_of("RD"), HasSubstr("RTDOSE"));
  EXPECT_THAT(reason_of("LABELS"), HasSubstr("a segmentation object"));
  EXPECT_THAT(reason_of("RS"), HasSubstr("RTSTRUCT"));
}

TEST_F(DicomFolderTest, AnObjectUnderTheSeriesOwnUidIsNotLeftOut) {
  write_all();
  auto damaged = slice(kSlices - 1);
  damaged.more[0x00080016] = {"UI", kClass + "481.2"};
  write(damaged);
  expect_image_refused(folder_, "IM15: an RTDOSE object under the UID of the image series");
}

TEST_F(DicomFolderTest, LocalizersAreLeftOut) {
  write_all();
  auto scout = slice(3);
  scout.rows_and_columns = {0, 1, 0, 0, 0, -1};
  scout.more[0x00080008] = {"CS", "ORIGINAL\\PRIMARY\\LOCALIZER"};
  testing::write_dicom(folder_ / "same-series", scout);
  scout.series = "1.2.8";
  testing::write_dicom(folder_ / "own-series", scout);
  auto plane = slice(3);  // not said to be one, but of another orientation and series
  plane.series = "1.2.8.1";
  plane.rows_and_columns = {1, 0, 0, 0, 0, -1};
  testing::write_dicom(folder_ / "unsaid", plane);
  expect_whole_series(folder_);
  EXPECT_THAT(names(read_dicom_folder(folder_).left_out),
              UnorderedElementsAre("same-series", "own-series", "unsaid"));
  EXPECT_EQ(reason_of("own-series"), "a localizer");
}

TEST_F(DicomFolderTest, PicturesWithoutAPlaceAreLeftOutOnlyFromOtherSeries) {
  write_all();
  auto report = object(kClass + "7", "OT", "1.2.8");  // a dose report's screen
  report.more[0x00200032] = {};
  testing::write_dicom(folder_ / "screen", report);
  expect_whole_series(folder_);
  EXPECT_THAT(reason_of("screen"), HasSubstr("ImagePositionPatient"));
  report.series = slice(0).series;
  testing::write_dicom(folder_ / "screen", report);
  expect_image_refused(folder_, "screen: its ImagePositionPatient is missing");
}

TEST_F(DicomFolderTest, SeveralSeriesAreListedAndCanBeChosen) {
  write_all();
  for (int k = 0; k < 3; ++k) {
    auto other = slice(k);
    other.series = "9.8.7";
    other.more[0x0008103E] = {"LO", "Thorax\x1b[31m lung"};
    other.more[0x00200011] = {"IS", "5"};
    testing::write_dicom(folder_ / ("other" + std::to_string(k)), other);
  }
  expect_image_refused(folder_,
                       "2 image series in the folder (1: without a description, CT, 16 "
                       "images of 4x3, 1.2.3.4; 2: SeriesNumber 5, \"Thorax\\x1b[31m lung\", "
                       "CT, 3 images of 4x3, 9.8.7), expected one");
  EXPECT_EQ(read_image(folder_, {.dicom_series = "2"}).geometry.size[2], 3);
  EXPECT_EQ(read_image(folder_, {.dicom_series = "9.8.7"}).geometry.size[2], 3);
  EXPECT_EQ(read_image(folder_, {.dicom_series = "1"}).geometry.size[2], kSlices);
  EXPECT_EQ(read_dicom_folder(folder_, "1").left_out.size(), 3U);
  testing::expect_refused([&] { read_image(folder_, {.dicom_series = "3"}); }, "series=3");
}

// One line tells people of a series; the lists for programs have each of its files.
TEST_F(DicomFolderTest, TheFilesOfASeriesThatWasNotChosenShareALine) {
  write_all();
  for (int k = 0; k < 3; ++k) {
    auto other = slice(k);
    other.series = "9.8.7";
    testing::write_dicom(folder_ / ("other" + std::to_string(k)), other);
  }
  written(folder_ / "README.txt", "text");
  const CheckReport report = check_images({folder_}, {.dicom_series = "1"});
  EXPECT_TRUE(report.ok()) << describe(report);
  EXPECT_THAT(names(report.ignored), ElementsAre("README.txt", "other0", "other1", "other2"));
  ASSERT_EQ(report.notes.size(), 2U) << describe(report);
  EXPECT_THAT(report.notes[1],
              HasSubstr("3 files of " + folder_.string() + " are left out: another series ("));
  EXPECT_THAT(report.notes[1], HasSubstr("9.8.7)"));
}

// Places in the list go by file names, SeriesNumbers by the scanner.
TEST_F(DicomFolderTest, ANumberThatIsPlaceAndSeriesNumberIsNoChoice) {
  const auto write_series = [&](const std::string& uid, const std::string& number, int slices) {
    for (int k = 0; k < slices; ++k) {
      auto image = slice(k);
      image.series = uid;
      if (!number.empty()) image.more[0x00200011] = {"IS", number};
      testing::write_dicom(folder_ / ("s" + uid.substr(2) + std::to_string(k)), image);
    }
  };
  const auto slices_of = [&](const std::string& series) {
    return read_image(folder_, {.dicom_series = series}).geometry.size[2];
  };
  const auto refused = [&](const std::string& series, const std::string& found) {
    testing::expect_refused([&] { read_image(folder_, {.dicom_series = series}); }, found);
  };
  write_series("1.1", "2", 3);
  write_series("1.2", "+007", 4);
  write_series("1.3", "", 5);
  refused("2",
          "series=2 is the place of SeriesNumber +007, without a description, CT, 4 images of 4x3, "
          "1.2, and the SeriesNumber of SeriesNumber 2, without a description, CT, 3 images of "
          "4x3, 1.1");
  EXPECT_EQ(slices_of("7"), 4) << "no place, one SeriesNumber";
  EXPECT_EQ(slices_of("1"), 3) << "a place, no SeriesNumber";
  EXPECT_EQ(slices_of("3"), 5);
  EXPECT_EQ(slices_of("1.2"), 4);
  refused("4", "no such series");
  refused("07", "no such series");
  write_series("1.4", "7", 6);
  refused("7", "the SeriesNumber of");
  EXPECT_EQ(slices_of("4"), 6);
}

TEST_F(DicomFolderTest, APlaceThatIsNotTheSeriesNumberIsToldOf) {
  write_all();
  for (int k = 0; k < 2; ++k) {
    auto other = slice(k);
    other.series = "9.8.7";
    other.more[0x00200011] = {"IS", "5"};
    testing::write_dicom(folder_ / ("other" + std::to_string(k)), other);
  }
  set_log_level(LogLevel::kInfo);
  const auto said = [&](const std::string& series) {
    ::testing::internal::CaptureStderr();
    EXPECT_EQ(read_dicom_folder(folder_, series).slices.size(), 2U);
    return ::testing::internal::GetCapturedStderr();
  };
  EXPECT_EQ(said("5"), "");
  EXPECT_EQ(said("9.8.7"), "");
  EXPECT_THAT(said("2"), HasSubstr("series=2 is the place of SeriesNumber 5"));
}

TEST_F(DicomFolderTest, ALoneSliceOfTheSamePlaneUnderAnotherUidIsNotLeftOut) {
  write_all();
  auto renamed = slice(kSlices - 1);
  renamed.series = "9.8.7";
  write(renamed);
  expect_image_refused(folder_, "2 image series");
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
