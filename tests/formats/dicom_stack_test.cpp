// What makes an even stack, and what is said of those that are none.
#include "lamp/formats/dicom_stack.h"

#include <gmock/gmock.h>
#include <torch/types.h>

#include <array>
#include <cmath>
#include <string>
#include <tuple>

#include "formats/dicom_fixture.h"

namespace lamp {
namespace {

using lamp::testing::expect_image_refused;

class DicomStackTest : public lamp::testing::DicomFixture {
 protected:
  // `count` slices `gap` apart whose positions are rounded to `decimals`, without those of
  // `missing`.
  struct Rounded {
    double gap = 1;
    int decimals = 0;
    int count = 40;
    int missing = -1;
    bool numbered = true;
    std::string declared = "";  // SpacingBetweenSlices
  };
  void write_rounded(const Rounded& series) const {
    for (const auto& entry : std::filesystem::directory_iterator(folder_))
      std::filesystem::remove(entry);
    const double unit = std::pow(10, series.decimals);
    int number = 0;
    for (int k = 0; k < series.count; ++k) {
      if (k == series.missing) continue;
      testing::DicomSlice next = slice(k);
      next.number = ++number;
      next.position_mm[2] = std::round((3.3 + series.gap * k) * unit) / unit;
      if (!series.declared.empty()) next.more[0x00180088] = {"DS", series.declared};
      if (!series.numbered) next.more[0x00200013] = {};
      write(next);
    }
  }
};

TEST_F(DicomStackTest, PositionsRoundedBelowAQuarterOfAGapAreRead) {
  for (const double gap : {0.45, 0.625, 0.75, 1.25, 2.35}) {
    write_rounded({.gap = gap, .decimals = 1, .numbered = false});
    const Geometry grid = read_image(folder_).geometry;
    EXPECT_EQ(grid.size[2], 40);
    EXPECT_NEAR(grid.spacing_mm[2], gap, 0.1 / 39);
    EXPECT_NEAR(grid.origin_mm[2], 3.3, 0.05 + 1e-9);
    write_rounded({.gap = gap, .decimals = 1, .declared = std::to_string(gap)});
    EXPECT_NEAR(read_image(folder_).geometry.spacing_mm[2], gap, 1e-6);
  }
}

TEST_F(DicomStackTest, AMissingSliceIsNeverTakenForRounding) {
  for (const double gap : {0.45, 0.625, 0.75, 1.25, 2.35}) {
    for (const int count : {5, 8, 40}) {
      for (int missing = 1; missing < count - 1; ++missing) {
        write_rounded({.gap = gap,
                       .decimals = 1,
                       .count = count,
                       .missing = missing,
                       .declared = std::to_string(gap)});
        expect_image_refused(folder_, "a slice is missing");
      }
    }
  }
}

TEST_F(DicomStackTest, CoarsePositionsNeedTheNumbersAndTheDeclaredSpacing) {
  write_rounded({.gap = 0.7, .decimals = 0, .declared = "0.7"});
  const Geometry grid = read_image(folder_).geometry;
  EXPECT_EQ(grid.size[2], 40);
  EXPECT_DOUBLE_EQ(grid.spacing_mm[2], 0.7);
  const Volume volume = read_image(folder_);
  for (int k = 0; k < 40; ++k)  // in order, though places are equal
    EXPECT_EQ(volume.voxels[0][k][0][0].item<float>(), static_cast<float>(100 * k)) << k;
  write_rounded({.gap = 0.7, .decimals = 0});
  expect_image_refused(folder_, "positions are rounded to 1 mm, too coarse");
  write_rounded({.gap = 0.7, .decimals = 0, .numbered = false, .declared = "0.7"});
  expect_image_refused(folder_, "positions are rounded to 1 mm, too coarse");
  write_rounded({.gap = 0.7, .decimals = 0, .missing = 20, .declared = "0.7"});
  EXPECT_THROW(read_image(folder_), InputError);
}

// Even without it, their places are whole millimetres, which rounding could have made of others.
TEST_F(DicomStackTest, ASliceMissingAmongWholeMillimetresIsNotRounding) {
  for (const double gap : {1.0, 2.0, 3.0}) {
    for (const int count : {5, 8, 40}) {
      for (int missing = 1; missing < count - 1; ++missing) {
        write_rounded({.gap = gap,
                       .decimals = 0,
                       .count = count,
                       .missing = missing,
                       .declared = std::to_string(gap)});
        expect_image_refused(folder_, "a slice is missing");
      }
    }
  }
  for (const double gap : {0.25, 0.5}) {
    write_rounded({.gap = gap, .decimals = 0, .declared = std::to_string(gap)});
    EXPECT_EQ(read_image(folder_).geometry.size[2], 40);
    write_rounded({.gap = gap, .decimals = 0, .missing = 20, .declared = std::to_string(gap)});
    EXPECT_THROW(read_image(folder_), InputError);
  }
}

TEST_F(DicomStackTest, WholeMillimetresOfOtherStepsAreRead) {
  for (const double gap : {0.7, 1.25, 1.5, 2.4}) {
    write_rounded({.gap = gap, .decimals = 0, .declared = std::to_string(gap)});
    EXPECT_NEAR(read_image(folder_).geometry.spacing_mm[2], gap, 1e-6);
  }
}

// A thickness is no distance.
TEST_F(DicomStackTest, SlicesThinnerThanTheirDistanceAreNotCalledMissing) {
  write_rounded({.gap = 2.5, .decimals = 0, .declared = "0.625"});
  expect_image_refused(folder_, "positions are rounded to 1 mm, too coarse");
}

TEST_F(DicomStackTest, PhasesAreCalledSo) {
  const std::vector<std::pair<std::uint32_t, std::string>> elements = {
      {0x00200100, "IS"}, {0x00200012, "IS"}, {0x00080033, "TM"}, {0x00180081, "DS"}};
  const std::vector<std::string> said = {"TemporalPositionIdentifier 1, 2",
                                         "AcquisitionNumber 1, 2", "ContentTime 1, 2",
                                         "EchoTime 1, 2"};
  for (std::size_t e = 0; e < elements.size(); ++e) {
    for (const bool interleaved : {false, true}) {
      for (int k = 0; k < 10; ++k) {
        for (int phase = 0; phase < 2; ++phase) {
          testing::DicomSlice next = slice(k);
          next.number = interleaved ? 2 * k + phase + 1 : 10 * phase + k + 1;
          next.position_mm[2] = k;  // a whole number of mm, as if rounded
          next.more[elements[e].first] = {elements[e].second, std::to_string(phase + 1)};
          write(next);
        }
      }
      expect_image_refused(folder_, "2 images at each of 10 places, told apart by " + said[e]);
    }
  }
}

TEST_F(DicomStackTest, WeightingsOfADiffusionSeriesAreCalledSo) {
  for (int k = 0; k < 20; ++k) {
    testing::DicomSlice next = slice(k / 2);
    next.number = k + 1;
    const double b_value = k % 2 ? 1000 : 0;  // s/mm^2
    next.more[0x00189087] = {"FD", {reinterpret_cast<const char*>(&b_value), sizeof b_value}};
    write(next);
  }
  expect_image_refused(folder_,
                       "2 images at each of 10 places, told apart by DiffusionBValue 0, 1000");
}

TEST_F(DicomStackTest, SeveralImagesAPlaceWithoutAReasonAreCounted) {
  for (int k = 0; k < 20; ++k) {
    testing::DicomSlice next = slice(k / 2);
    next.number = k + 1;
    write(next);
  }
  expect_image_refused(folder_, "20 images at 10 places, up to 2 at one");
}

TEST_F(DicomStackTest, ACopyOfASliceIsNamed) {
  write_all();
  std::filesystem::copy(file(4), folder_ / "IM04 (1)");
  expect_image_refused(folder_, "the same image as IM04");
}

TEST_F(DicomStackTest, SlicesWithAndWithoutARescaleAreRefused) {
  for (const int unlike : {0, 5}) {
    write_all();
    testing::DicomSlice bare = slice(unlike);
    bare.more[0x00281052] = bare.more[0x00281053] = {};
    write(bare);
    expect_image_refused(folder_, "RescaleSlope or RescaleIntercept, IM00");
  }
  for (int k = 0; k < kSlices; ++k) {
    testing::DicomSlice bare = slice(k);
    bare.more[0x00281052] = bare.more[0x00281053] = {};
    write(bare);
  }
  EXPECT_EQ(read_image(folder_).geometry.size[2], kSlices);
}

TEST_F(DicomStackTest, AnotherPatientOrFrameWithinASeriesIsTold) {
  for (const auto& [tag, name] :
       {std::pair{0x00100020U, "PatientID"}, std::pair{0x00200052U, "FrameOfReferenceUID"}}) {
    for (int k = 0; k < kSlices; ++k) {
      testing::DicomSlice next = slice(k);
      next.more[tag] = {tag == 0x00100020U ? "LO" : "UI", k < 9 ? "1.7" : "1.8"};
      write(next);
    }
    set_log_level(LogLevel::kWarning);
    ::testing::internal::CaptureStderr();
    read_image(folder_);
    const std::string told = ::testing::internal::GetCapturedStderr();
    EXPECT_THAT(told, ::testing::HasSubstr(std::string(name) +
                                           " differs within one series, between IM00 and IM09"));
    EXPECT_THAT(told, ::testing::Not(::testing::HasSubstr("1.7")));
  }
}

TEST_F(DicomStackTest, AShiftedSliceIsNotRounding) {
  for (int k = 0; k < 10; ++k) {
    testing::DicomSlice next = slice(k);
    next.position_mm = {k == 4 ? 1.0 : 0.0, 0, 3.0 * k};
    write(next);
  }
  expect_image_refused(folder_, "off the line");
}

TEST_F(DicomStackTest, AnotherContrastWithinASeriesIsTold) {
  const auto real = [](double value) {
    return std::string(reinterpret_cast<const char*>(&value), sizeof value);
  };
  using Values = std::array<testing::DicomField, 2>;
  for (const auto& [tag, values, told] :
       {std::tuple{0x00180086U, Values{{{"IS", "1"}, {"IS", "2"}}},
                   "EchoNumbers differs within one series, 1 in IM00 and 2 in IM08"},
        std::tuple{0x00200100U, Values{{{"IS", "3"}, {"IS", ""}}},
                   "TemporalPositionIdentifier differs within one series, 3 in IM00 and none in"},
        std::tuple{0x00181210U, Values{{{"SH", "B30f"}, {"SH", "B70f"}}},
                   "ConvolutionKernel differs within one series, B30f in IM00 and B70f in IM08"},
        std::tuple{0x00189087U, Values{{{"FD", real(0)}, {"FD", real(800)}}},
                   "DiffusionBValue differs within one series, 0 in IM00 and 800 in IM08"}}) {
    for (int k = 0; k < kSlices; ++k) {
      testing::DicomSlice next = slice(k);
      next.more[tag] = values[k < 8 ? 0 : 1];
      write(next);
    }
    set_log_level(LogLevel::kWarning);
    ::testing::internal::CaptureStderr();
    EXPECT_EQ(read_image(folder_).geometry.size[2], kSlices);
    EXPECT_THAT(::testing::internal::GetCapturedStderr(), ::testing::HasSubstr(told));
  }
}

}  // namespace
}  // namespace lamp
