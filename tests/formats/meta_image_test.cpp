// MetaImage headers by MetaIO's documentation. Every expected place is worked out by hand.
#include "lamp/formats/meta_image.h"

#include "formats/text_volume_samples.h"

namespace lamp {
namespace {

using ::testing::AllOf;
using testing::expect_image_refused;
using ::testing::HasSubstr;
using testing::meta_fields;
using testing::Point;

class MetaImageTest : public testing::TextVolumeTest {};

TEST_F(MetaImageTest, RowsOfTheMatrixAreTheAxes) {
  expect_points(meta(meta_fields()), {{{10, 20, 30}, {12, 20, 30}, {10, 23, 30}, {10, 20, 34}}});
  for (const char* name : {"TransformMatrix", "Rotation", "Orientation"}) {
    const auto with_matrix = [&](const char* matrix) {
      return meta(meta_fields().without("TransformMatrix").with(name, matrix));
    };
    expect_points(with_matrix("0 0 1 1 0 0 0 1 0"),
                  {{{10, 20, 30}, {10, 20, 32}, {13, 20, 30}, {10, 24, 30}}});
    expect_points(with_matrix("0.6 0.8 0 -0.8 0.6 0 0 0 -1"),  // left-handed
                  {{{10, 20, 30}, {11.2, 21.6, 30}, {7.6, 21.8, 30}, {10, 20, 26}}});
  }
  for (const char* name : {"Offset", "Origin", "Position"})
    expect_points(meta(meta_fields().without("Offset").with(name, "-1 2.5 1e2")),
                  {{{-1, 2.5, 100}, {1, 2.5, 100}, {-1, 5.5, 100}, {-1, 2.5, 104}}});
}

TEST_F(MetaImageTest, NamesOfOneThingMustAgree) {
  EXPECT_EQ(warnings(meta(meta_fields().with("Origin", "10  20 30"))), "");
  expect_image_refused(meta(meta_fields().with("Origin", "10 20 31")), "mean the same and differ");
  expect_image_refused(meta(meta_fields().with("Rotation", "-1 0 0 0 1 0 0 0 1")), "differ");
  expect_image_refused(meta(meta_fields().with("ElementByteOrderMSB", "True")), "differ");
}

TEST_F(MetaImageTest, SaysWhatTheHeaderLeavesOpen) {
  Geometry grid;
  EXPECT_THAT(warnings(meta(meta_fields().without("TransformMatrix")), &grid),
              AllOf(HasSubstr("no orientation in the file"), HasSubstr("taken as L, P, S")));
  EXPECT_EQ(grid.point({1, 1, 1}), (Point{12, 23, 34}));
  EXPECT_THAT(
      warnings(meta(meta_fields().without("TransformMatrix").with("AnatomicalOrientation", "RAI"))),
      AllOf(HasSubstr("no orientation"), HasSubstr("RAI")));
  EXPECT_THAT(warnings(meta(meta_fields().without("Offset")), &grid), HasSubstr("no origin"));
  EXPECT_EQ(grid.origin_mm, (Point{0, 0, 0}));
  EXPECT_THAT(warnings(meta(meta_fields().without("ElementSpacing")), &grid),
              HasSubstr("no voxel spacing in the file, 1 mm assumed"));
  EXPECT_EQ(grid.spacing_mm, (Point{1, 1, 1}));
}

TEST_F(MetaImageTest, ElementSizeStandsInForTheSpacing) {
  Geometry grid;
  const auto size = meta_fields().with("ElementSize", "1.5 1.5 2.5");
  EXPECT_EQ(warnings(meta(size), &grid), "");
  EXPECT_EQ(grid.spacing_mm, (Point{2, 3, 4}));  // slices with gaps are no contradiction
  EXPECT_THAT(warnings(meta(size.without("ElementSpacing")), &grid),
              AllOf(HasSubstr("ElementSize of 1.5 1.5 2.5 mm is taken"),
                    ::testing::Not(HasSubstr("1 mm assumed"))));
  EXPECT_EQ(grid.spacing_mm, (Point{1.5, 1.5, 2.5}));
}

TEST_F(MetaImageTest, RefusesNumbersThatAreNoPlace) {
  for (const char* spacing : {"nan 3 4", "2 0 4", "2 3 -4", "2 3 inf"}) {
    expect_image_refused(meta(meta_fields().with("ElementSpacing", spacing)), "voxel spacing");
    expect_image_refused(meta(meta_fields().without("ElementSpacing").with("ElementSize", spacing)),
                         "voxel spacing");
  }
  for (const char* spacing : {"2 3", "2 3 4 5", "2 3 x", "2,3,4"})
    expect_image_refused(meta(meta_fields().with("ElementSpacing", spacing)), "expected 3 numbers");
  expect_image_refused(meta(meta_fields().with("Offset", "10 nan 30")), "origin nan");
  expect_image_refused(meta(meta_fields().with("Offset", "10 20")), "expected 3 numbers");
  const auto turned = [](const char* matrix) {
    return meta_fields().with("TransformMatrix", matrix);
  };
  expect_image_refused(meta(turned("1 0 0 0 1 0 0 0")), "expected 9 numbers");
  expect_image_refused(meta(turned("1 0 0 nan 1 0 0 0 1")), "NaN");
  expect_image_refused(meta(turned("2 0 0 0 1 0 0 0 1")), "of length 2, expected 1");
  expect_image_refused(meta(turned("1 0 0 1 0 0 0 0 1")), "singular");
  expect_image_refused(meta(turned("1 0 0 0.6 0.8 0 0 0 1")), "sheared");
  expect_image_refused(meta(turned("0 0 0 0 0 0 0 0 0")), "length 0");
}

TEST_F(MetaImageTest, AMatrixThatItsLettersContradictIsToldOf) {
  const auto lettered = [&](const char* matrix, const char* letters) {
    return warnings(
        meta(meta_fields().with("TransformMatrix", matrix).with("AnatomicalOrientation", letters)));
  };
  // ITK writes from where an axis comes, the documentation where it goes.
  EXPECT_EQ(lettered("1 0 0 0 1 0 0 0 1", "RAI"), "");
  EXPECT_EQ(lettered("1 0 0 0 1 0 0 0 1", "LPS"), "");
  EXPECT_EQ(lettered("1 0 0 0 1 0 0 0 1", "???"), "");
  EXPECT_EQ(lettered("-1 0 0 0 -1 0 0 0 1", "RAS"), "");
  EXPECT_EQ(lettered("0 0 1 1 0 0 0 1 0", "SLP"), "");
  EXPECT_THAT(lettered("1 0 0 0 1 0 0 0 1", "RAS"),
              AllOf(HasSubstr("LPS"), HasSubstr("RAS"), HasSubstr("the matrix is used")));
  EXPECT_THAT(lettered("0 0 1 1 0 0 0 1 0", "LPS"), HasSubstr("the matrix is used"));
  // Letters cannot say what lies between axes.
  EXPECT_EQ(lettered("0.6 0.8 0 -0.8 0.6 0 0 0 1", "RAI"), "");
}

TEST_F(MetaImageTest, ACenterOfRotationMattersOnlyWithARotation) {
  const auto centred = meta_fields().with("CenterOfRotation", "5 6 7");
  EXPECT_EQ(warnings(meta(centred)), "");
  EXPECT_EQ(warnings(meta(meta_fields().with("CenterOfRotation", "0 0 0"))), "");
  Geometry grid;
  EXPECT_THAT(warnings(meta(centred.with("TransformMatrix", "0 1 0 1 0 0 0 0 1")), &grid),
              HasSubstr("CenterOfRotation"));
  EXPECT_EQ(grid.origin_mm, (Point{10, 20, 30}));
}

TEST_F(MetaImageTest, ChannelsLieSideBySide) {
  const auto two = meta_fields().with("DimSize", "3 2 2").with("ElementNumberOfChannels", "2");
  const Volume image = read_image(meta(two));
  EXPECT_EQ(image.voxels.size(0), 2);
  EXPECT_EQ(image.voxels.index({0, 0, 0, 2}).item<float>(), 5);
  EXPECT_EQ(image.voxels.index({1, 0, 0, 2}).item<float>(), 6);
  for (const char* channels : {"0", "-1", "two", "1 2", "1e9"})
    expect_image_refused(meta(two.with("ElementNumberOfChannels", channels)), "");
  expect_image_refused(meta(meta_fields().with("DimSize", "4 3 1"), 12), "a 2-D image");
  expect_image_refused(meta(meta_fields().with("DimSize", "4 3")), "three numbers");
  expect_image_refused(meta(meta_fields().with("DimSize", "4 3 2 1")), "three numbers");
}

TEST_F(MetaImageTest, ValuesAreScaledAsTheHeaderSays) {
  const auto scaled = meta_fields()
                          .with("ElementToIntensityFunctionSlope", "0.5")
                          .with("ElementToIntensityFunctionOffset", "-3");
  EXPECT_THAT(warnings(meta(scaled)), HasSubstr("values are scaled"));
  EXPECT_EQ(read_image(meta(scaled)).voxels.flatten()[23].item<float>(), 9);  // 24 / 2 - 3
  EXPECT_EQ(warnings(meta(meta_fields()
                              .with("ElementToIntensityFunctionSlope", "1")
                              .with("ElementToIntensityFunctionOffset", "0"))),
            "");
  for (const char* slope : {"0", "nan", "inf"})
    expect_image_refused(meta(scaled.with("ElementToIntensityFunctionSlope", slope)), "scaled");
}

TEST_F(MetaImageTest, LengthsInAnotherUnitAreRefused) {
  EXPECT_EQ(warnings(meta(meta_fields().with("DistanceUnits", "mm"))), "");
  EXPECT_EQ(warnings(meta(meta_fields().with("DistanceUnits", "?"))), "");
  for (const char* unit : {"um", "cm", "m"})
    expect_image_refused(meta(meta_fields().with("DistanceUnits", unit)), "expected mm");
}

// MetaIO, which ITK reads these files with, copies the name into 255 bytes.
TEST_F(MetaImageTest, AnOverlongOrBinaryNameIsRefused) {
  const std::string rest = meta_fields().text() + counting();
  const auto with_line = [&](const std::string& line) {
    return testing::written(folder_ / "a.mha", line + "\n" + rest);
  };
  for (const std::size_t length : {255, 256, 500, 1000, 1024, 5000, 100000})
    expect_image_refused(with_line(std::string(length, 'n') + " = 1"),
                         "a field name of " + std::to_string(length) + " bytes");
  expect_image_refused(with_line(std::string("\x1b[2J = 1")), "\\x1b");
  expect_image_refused(with_line(std::string("a\0b = 1", 7)), "control characters");
  EXPECT_NO_THROW(read_image(with_line(std::string(254, 'n') + " = 1")));
  EXPECT_NO_THROW(read_image(with_line("Comment = " + std::string(100000, 'v'))));
  EXPECT_NO_THROW(read_image(with_line("no field")));
  expect_image_refused(with_line("Comment = " + std::string(2 << 20, 'v')), "no ElementDataFile");
}

}  // namespace
}  // namespace lamp
