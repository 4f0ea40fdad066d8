// Voxels are stored values with their rescale, whatever else the header says, and no header aborts
// the process.
#include <gmock/gmock.h>
#include <sys/resource.h>
#include <torch/types.h>

#include "formats/dicom_fixture.h"
#include "lamp/base/files.h"
#include "lamp/base/host_memory.h"
#include "lamp/formats/dicom_pixels.h"

namespace lamp {
namespace {

namespace fs = std::filesystem;
using lamp::testing::dicom_word;
using lamp::testing::expect_image_refused;
using lamp::testing::written;

class DicomValuesTest : public lamp::testing::DicomFixture {
 protected:
  // Two slices of which the first holds `values`; its image.
  std::vector<float> read(testing::DicomSlice first) const {
    for (int k = 0; k < 2; ++k) {
      testing::DicomSlice next = first;
      next.number = k + 1;
      next.position_mm[2] = k;
      write(next);
    }
    const torch::Tensor voxels = read_image(folder_).voxels[0][0].contiguous();
    const float* value = voxels.const_data_ptr<float>();
    return {value, value + voxels.numel()};
  }
  static testing::DicomSlice with_values(std::vector<std::int16_t> values) {
    return {
        .width = 2, .height = 2, .slope = "2", .intercept = "-1000", .values = std::move(values)};
  }
};

TEST_F(DicomValuesTest, Monochrome1IsNotInverted) {
  auto slice = with_values({0, 1, 1000, -3});
  slice.more[0x00280004] = {"CS", "MONOCHROME1"};
  EXPECT_EQ(read(slice), (std::vector<float>{-1000, -998, 1000, -1006}));
  slice.encoding = testing::DicomEncoding::kBareImplicit;
  EXPECT_EQ(read(slice), (std::vector<float>{-1000, -998, 1000, -1006}));
}

TEST_F(DicomValuesTest, SignAndBitsAreTheHeaders) {
  const auto minus_two = static_cast<std::int16_t>(0xFFFE);
  auto slice = with_values({minus_two, 5, 0, 32767});
  EXPECT_EQ(read(slice), (std::vector<float>{-1004, -990, -1000, 64534}));
  slice.is_signed = false;
  EXPECT_EQ(read(slice), (std::vector<float>{130068, -990, -1000, 64534}));
  slice = with_values({0x0FFF, 0x0800, 0x07FF, 1});
  slice.bits_stored = 12;
  EXPECT_EQ(read(slice), (std::vector<float>{-1002, -5096, 3094, -998}));
  slice.is_signed = false;
  EXPECT_EQ(read(slice), (std::vector<float>{7190, 3096, 3094, -998}));
}

TEST_F(DicomValuesTest, BitsOfAnOverlayAreNoValues) {
  auto slice = with_values({0x1001, 0x7002, 3, 4});
  slice.bits_stored = 12;
  slice.is_signed = false;
  slice.more[0x60000102] = {"US", dicom_word(12)};
  EXPECT_EQ(read(slice), (std::vector<float>{-998, -996, -994, -992}));
}

TEST_F(DicomValuesTest, ValuesMayLieInTheUpperBits) {
  auto slice = with_values({0x0010, 0x7FF0, static_cast<std::int16_t>(0xFFF0), 0});
  slice.bits_stored = 12;
  slice.more[0x00280102] = {"US", dicom_word(15)};
  EXPECT_EQ(read(slice), (std::vector<float>{-998, 3094, -1002, -1000}));
}

TEST_F(DicomValuesTest, PaddingIsAStoredValueLikeOthers) {
  auto slice = with_values({-2000, 24, 0, 0});
  slice.slope = "1";
  slice.intercept = "-24";
  slice.more[0x00280120] = {"SS", dicom_word(-2000)};
  EXPECT_EQ(read(slice), (std::vector<float>{-2024, 0, -24, -24}));
}

TEST_F(DicomValuesTest, EightBitsAndAnOddNumberOfVoxels) {
  auto slice = with_values({0x0201, 0x0403, 0x0605, 0x0807, static_cast<std::int16_t>(0x00FF)});
  slice.width = slice.height = 3;
  slice.bits_stored = 8;
  slice.is_signed = false;
  slice.slope = "1";
  slice.intercept = "0";
  slice.more[0x00280100] = {"US", dicom_word(8)};
  EXPECT_EQ(read(slice), (std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8, 255}));
}

TEST_F(DicomValuesTest, AMissingRescaleIsNone) {
  auto slice = with_values({1, 2, 3, 4});
  slice.more[0x00281052] = slice.more[0x00281053] = {};
  EXPECT_EQ(read(slice), (std::vector<float>{1, 2, 3, 4}));
  slice.more[0x00281053] = {"DS", "0"};
  write(slice);
  expect_image_refused(folder_, "rescale slope is 0");
  slice.more[0x00281053] = {"DS", "0x10"};
  write(slice);
  expect_image_refused(folder_, "no number");
}

TEST_F(DicomValuesTest, AWrongTypeOfAnElementIsNamed) {
  write_all();
  auto wrong = slice(7);
  wrong.more[0x00280010] = {"SS", dicom_word(3)};
  write(wrong);
  expect_image_refused(folder_, "IM07: found its Rows of the type SS, expected US");
}

// What archives write that do not look a type up.
TEST_F(DicomValuesTest, TheTypeUnknownIsTaken) {
  auto slice = with_values({1, 2, 3, 4});
  slice.more[0x00280010] = {"UN", dicom_word(2)};
  slice.more[0x00281052] = {"UN", "-1000"};
  EXPECT_EQ(read(slice), (std::vector<float>{-998, -996, -994, -992}));
}

TEST_F(DicomValuesTest, NoTypeOfAnyElementEndsTheProcess) {
  const std::string types =
      "AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US OB OD OF OL OV OW SQ SV UC "
      "UN "
      "UR UT UV ";
  const testing::DicomSlice good = with_values({1, 2, 3, 4});
  read(good);
  int refused = 0, tried = 0;
  for (const auto& [tag, field] : testing::dicom_fields(good)) {
    for (std::size_t place = 0; place < types.size(); place += 3) {
      testing::DicomSlice other = good;
      other.more[tag] = {types.substr(place, 2), field.value};
      write(other);
      ++tried;
      try {
        read_image(folder_);
      } catch (const InputError&) {
        ++refused;
      }
    }
  }
  EXPECT_EQ(tried, 20 * 34);
  EXPECT_GE(refused, tried - 100);
}

TEST_F(DicomValuesTest, CompressedVoxelsAreDecodedAndScaled) {
  testing::DicomSlice slice = this->slice(0);
  slice.slope = "0.5";
  slice.intercept = "10";
  slice.more[0x00280004] = {"CS", "MONOCHROME1"};
  for (int k = 0; k < 2; ++k) {
    slice.number = k + 1;
    slice.position_mm[2] = k;
    written(file(k), testing::jpeg_slice(slice, testing::jpeg_stream()));
  }
  const torch::Tensor voxels = read_image(folder_).voxels[0][1].flatten();
  EXPECT_TRUE(torch::equal(voxels, torch::arange(12, torch::kFloat32) * 50 - 140));
}

// JPEG-LS whose own header claims 30000 x 30000 voxels behind Rows and Columns of 3 and 4.
TEST_F(DicomValuesTest, ACompressedSliceTakesNoMoreMemoryThanItsHeaderClaims) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "the address sanitizer's own memory counts as well";
#endif
  const std::string stream(
      "\xff\xd8\xff\xf7\0\x0b\x10\x75\x30\x75\x30\x01\x01\x11\0"
      "\xff\xda\0\x08\x01\x01\0\0\0\0",
      25);
  for (int k = 0; k < 2; ++k)
    written(file(k), testing::jpeg_slice(slice(k), stream + std::string(5000, '\0') + "\xff\xd9",
                                         "1.2.840.10008.1.2.4.80"));
  testing::expect_image_refused(folder_, "its compressed voxels cannot be decoded");
  rusage decoder{};
  getrusage(RUSAGE_CHILDREN, &decoder);
  EXPECT_LT(std::int64_t{decoder.ru_maxrss} * 1024, peak_resident_bytes() + (600 << 20));
}

TEST_F(DicomValuesTest, ADamagedCompressedSliceNeverEndsTheProcess) {
  const testing::DicomSlice good = slice(0), other = slice(1);
  written(file(0), testing::jpeg_slice(good, testing::jpeg_stream()));
  Random random{5};
  for (int round = 0; round < 300; ++round) {
    std::string bytes = testing::jpeg_slice(other, testing::jpeg_stream());
    for (int flips = 0; flips < 1 + round % 3; ++flips) {
      const auto bit = random.below(static_cast<std::int64_t>(bytes.size() - 140) * 8);
      char& byte = bytes[140 + bit / 8];
      byte = static_cast<char>(byte ^ (1 << bit % 8));
    }
    written(file(1), bytes);
    try {
      EXPECT_EQ(read_image(folder_).geometry.size[2], 2);
    } catch (const InputError&) {
    }
  }
}

TEST_F(DicomValuesTest, RunLengthAndEncapsulatedNonsenseIsRefused) {
  for (const char* syntax : {"1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.2",
                             "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.100", "9.9"}) {
    write_all();
    written(file(7), testing::dicom_bytes(slice(7), syntax));
    expect_image_refused(folder_, "transfer syntax \"" + std::string(syntax));
  }
}

// PS3.3, C.7.6.16: place and rescale of a frame lie in its functional groups, whatever stands
// beside them.
TEST_F(DicomValuesTest, FunctionalGroupsAreNotPassedOver) {
  for (const std::uint32_t groups : {0x52009229U, 0x52009230U}) {
    for (int k = 0; k < 2; ++k) {
      testing::DicomSlice slice = this->slice(k);
      slice.more[groups] = {"SQ", ""};
      write(slice);
    }
    expect_image_refused(folder_, "an enhanced DICOM object (functional groups)");
  }
}

TEST_F(DicomValuesTest, VoxelsAsFloatingPointNumbersAreNamed) {
  testing::DicomSlice slice = this->slice(0);
  slice.encoding = testing::DicomEncoding::kImplicitFile;
  slice.more[0x7FE00010] = {};
  slice.more[0x7FE00008] = {"OF", std::string(48, '\0')};
  write(slice);
  expect_image_refused(folder_, "floating-point numbers");
}

// PS3.5, A.4: frames are compressed one by one. The header says one, the fragments hold two.
TEST_F(DicomValuesTest, ASecondCompressedImageIsNotPassedOver) {
  const std::string stream = testing::jpeg_stream();
  for (int k = 0; k < 2; ++k) {
    const std::string one = testing::jpeg_slice(slice(k), stream);
    constexpr std::size_t kEnd = 8;  // the delimiter of the sequence
    const std::size_t item = one.size() - kEnd - stream.size() - 8;
    const std::string again = one.substr(item, 8 + stream.size());
    written(file(k), one.substr(0, one.size() - kEnd) + again + one.substr(one.size() - kEnd));
  }
  expect_image_refused(folder_, "2 compressed images in one DICOM file");
}

}  // namespace
}  // namespace lamp
