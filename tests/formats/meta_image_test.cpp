// MetaImage headers by MetaIO's documentation. Every expected place is worked out by hand.
#include "lamp/formats/meta_image.h"

#include <cstdint>
#include <string>

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

// RFC 1950 and 1951: two bytes, one stored block, the Adler-32 of what it holds.
std::string zlib_stream(const std::string& bytes) {
  std::string stream = {'\x78', '\x01', '\x01'};
  const auto length = static_cast<unsigned>(bytes.size());
  for (const unsigned number : {length, ~length}) {
    stream += static_cast<char>(number & 0xff);
    stream += static_cast<char>(number >> 8 & 0xff);
  }
  stream += bytes;
  std::uint32_t a = 1, b = 0;
  for (const char byte : bytes) {
    a = (a + static_cast<unsigned char>(byte)) % 65521;
    b = (b + a) % 65521;
  }
  for (const int shift : {24, 16, 8, 0}) stream += static_cast<char>((b << 16 | a) >> shift & 0xff);
  return stream;
}

TEST_F(MetaImageTest, TheCompressedSizeIsTheNumberOfCompressedBytes) {
  const std::string packed = zlib_stream(counting());
  ASSERT_EQ(packed.size(), 59U);  // 48 and 11 around them
  const auto sized = [&](const std::string& size, const std::string& bytes) {
    const auto fields = meta_fields().with("CompressedData", "True");
    return testing::written(folder_ / "a.mha",
                            fields.with("CompressedDataSize", size).text() + bytes);
  };
  const std::string zeros(5, '\0');
  // Not said, unknown (0), right, right with padding, and as a rounded float.
  for (const char* size : {"", "0", "59", "59.0", "5.9e+01"})
    for (const std::string& padding : {std::string(), zeros})
      EXPECT_EQ(read_image(sized(size, packed + padding)).voxels.flatten()[23].item<float>(), 24)
          << size;
  expect_image_refused(sized("58", packed), "59 bytes of compressed voxels, expected 58");
  expect_image_refused(sized("60", packed), "expected 60 by its header: it is cut short");
  expect_image_refused(sized("59", packed.substr(0, 58)), "cut short");
  expect_image_refused(sized("1e9", packed), "cut short");
  expect_image_refused(sized("59", packed + zlib_stream("more")), "expected 59");
  expect_image_refused(sized("", packed + "x"), "bytes behind its compressed data");
  EXPECT_EQ(read_image(sized("64", packed + zeros)).voxels.flatten()[0].item<float>(), 1);
  for (const char* size : {"-59", "nan", "inf", "1e300", "many", "59 59", "0x3b"})
    expect_image_refused(sized(size, packed), "CompressedDataSize");
  // The length of voxels that are not compressed is known, so nothing hangs on it.
  EXPECT_THAT(warnings(meta(meta_fields().with("CompressedDataSize", "20"))),
              HasSubstr("CompressedDataSize 20 is not used"));
  for (const char* size : {"0", "48"})
    EXPECT_EQ(warnings(meta(meta_fields().with("CompressedDataSize", size))), "");
}

// MetaIO once wrote the number as a float: six digits.
TEST_F(MetaImageTest, ARoundedCompressedSizeIsTakenAsRounded) {
  const std::string bytes(60000, '\7');
  const std::string packed = zlib_stream(bytes);
  ASSERT_EQ(packed.size(), 60011U);
  const auto sized = [&](const std::string& size) {
    return testing::written(folder_ / "a.mha", meta_fields()
                                                       .with("DimSize", "100 20 15")
                                                       .with("CompressedData", "True")
                                                       .with("CompressedDataSize", size)
                                                       .text() +
                                                   packed);
  };
  EXPECT_NO_THROW(read_image(sized("6.00109e+04")));
  EXPECT_NO_THROW(read_image(sized("6.00112e+04")));
  expect_image_refused(sized("6.0010e+04"), "expected 60010");
  expect_image_refused(sized("60010"), "expected 60010");
  expect_image_refused(sized("6.002e+04"), "expected 60020");
}

TEST_F(MetaImageTest, TrueAndFalseAreSaidInWords) {
  std::string swapped = counting();
  for (std::size_t i = 0; i < swapped.size(); i += 2) std::swap(swapped[i], swapped[i + 1]);
  const auto ordered = [&](const std::string& msb) {
    return testing::written(folder_ / "a.mha",
                            meta_fields().with("BinaryDataByteOrderMSB", msb).text() + swapped);
  };
  for (const char* yes : {"True", "true", "T", "1"})
    EXPECT_EQ(read_image(ordered(yes)).voxels.flatten()[23].item<float>(), 24) << yes;
  for (const char* no : {"False", "false", "F", "0"})
    EXPECT_EQ(read_image(ordered(no)).voxels.flatten()[23].item<float>(), 24 * 256) << no;
  for (const char* neither : {"Yes", "No", "MSB", "2", "-1"}) {
    expect_image_refused(ordered(neither), "expected True or False");
    for (const char* field : {"BinaryData", "CompressedData"})
      expect_image_refused(meta(meta_fields().with(field, neither)), "expected True or False");
  }
}

// To MetaIO a name in other letters is another field, so its value would be passed over.
TEST_F(MetaImageTest, ANameInOtherLettersIsRefused) {
  for (const char* field : {"binarydatabyteordermsb", "elementSpacing", "COMPRESSEDDATA",
                            "ElementToIntensityFunctionslope", "Headersize"})
    expect_image_refused(meta(meta_fields().with(field, "1")), "as the format writes it");
  EXPECT_NO_THROW(read_image(meta(meta_fields().with("patientname", "1"))));
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

TEST_F(MetaImageTest, ByteOrdersInOtherWordsAgree) {
  for (const char* no : {"False", "false", "0"})
    EXPECT_EQ(warnings(meta(meta_fields().with("ElementByteOrderMSB", no))), "") << no;
  const auto big = meta_fields().with("BinaryDataByteOrderMSB", "1");
  const Volume image = read_image(meta(big.with("ElementByteOrderMSB", "True")));
  EXPECT_EQ(image.voxels.index({0, 0, 0, 0}).item<float>(), 256);  // the bytes 1, 0
  expect_image_refused(meta(big.with("ElementByteOrderMSB", "0")), "differ");
}

TEST_F(MetaImageTest, VoxelsInSeveralFilesAreCalledSo) {
  for (const char* value : {"LIST", "LIST 2", "list", "z%03d.raw 1 2 1", "z%d.raw"})
    expect_image_refused(meta(meta_fields().with("ElementDataFile", value)),
                         "its voxels lie in several files");
  for (const char* name : {"listed.raw", "50%.raw"}) {
    testing::written(folder_ / name, counting());
    EXPECT_NO_THROW(read_image(meta(meta_fields().with("ElementDataFile", name), 0))) << name;
  }
}

}  // namespace
}  // namespace lamp
