// What lies among the slices of a series: other files, other objects and other series.
#include <gmock/gmock.h>
#include <torch/types.h>

#include "formats/dicom_fixture.h"
#include "lamp/base/errors.h"
#include "lamp/dataset/check_report.h"
#include "lamp/dataset/dataset_check.h"
#include "lamp/formats/dicom_folder.h"
#include "lamp/formats/volume_io.h"

namespace lamp {
namespace {

namespace fs = std::filesystem;
using lamp::testing::expect_image_refused;
using lamp::testing::written;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

class DicomStrangersTest : public lamp::testing::DicomFixture {
 protected:
  std::string reason_of(const std::string& name) const {
    for (const LeftOut& file : read_dicom_folder(folder_).left_out)
      if (file.file.filename() == name) return file.reason;
    return "not left out";
  }
};

TEST_F(DicomStrangersTest, HarmlessStrangersAreLeftOutByName) {
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

TEST_F(DicomStrangersTest, ARadiotherapyExportGivesItsImageSeries) {
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

TEST_F(DicomStrangersTest, AnObjectUnderTheSeriesOwnUidIsNotLeftOut) {
  write_all();
  auto damaged = slice(kSlices - 1);
  damaged.more[0x00080016] = {"UI", kClass + "481.2"};
  write(damaged);
  expect_image_refused(folder_, "IM15: an RTDOSE object under the UID of the image series");
}

TEST_F(DicomStrangersTest, LocalizersAreLeftOut) {
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

TEST_F(DicomStrangersTest, PicturesWithoutAPlaceAreLeftOutOnlyFromOtherSeries) {
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

TEST_F(DicomStrangersTest, SeveralSeriesAreListedAndCanBeChosen) {
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
TEST_F(DicomStrangersTest, TheFilesOfASeriesThatWasNotChosenShareALine) {
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
TEST_F(DicomStrangersTest, ANumberThatIsPlaceAndSeriesNumberIsNoChoice) {
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

TEST_F(DicomStrangersTest, APlaceThatIsNotTheSeriesNumberIsToldOf) {
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

TEST_F(DicomStrangersTest, ALoneSliceOfTheSamePlaneUnderAnotherUidIsNotLeftOut) {
  write_all();
  auto renamed = slice(kSlices - 1);
  renamed.series = "9.8.7";
  write(renamed);
  expect_image_refused(folder_, "2 image series");
}

}  // namespace
}  // namespace lamp
