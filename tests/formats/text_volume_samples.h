// NRRD and MetaImage files made by hand, field by field, so that a test can change one.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "support/temporary_folder.h"
#include "volume/volume_samples.h"

namespace lamp::testing {

using Point = std::array<double, 3>;

// The fields of a text header in their order; an empty value leaves the field out.
class HeaderFields {
 public:
  HeaderFields(std::string first_line, std::string between,
               std::vector<std::pair<std::string, std::string>> fields)
      : first_line_(std::move(first_line)),
        between_(std::move(between)),
        fields_(std::move(fields)) {}

  HeaderFields with(const std::string& name, const std::string& value) const {
    HeaderFields changed = *this;
    for (auto& field : changed.fields_) {
      if (field.first != name) continue;
      field.second = value;
      return changed;
    }
    changed.fields_.emplace(changed.fields_.end() - 1, name, value);
    return changed;
  }
  HeaderFields without(const std::string& name) const { return with(name, ""); }
  std::string text() const {
    std::string text = first_line_;
    for (const auto& [name, value] : fields_)
      if (!value.empty()) text += name + between_ + value + "\n";
    return text;
  }

 private:
  std::string first_line_, between_;
  std::vector<std::pair<std::string, std::string>> fields_;
};

// 4x3x2 voxels of 2x3x4 mm from (10, 20, 30) on along the axes of the space.
inline HeaderFields nrrd_fields() {
  return {"NRRD0004\n",
          ": ",
          {{"type", "short"},
           {"dimension", "3"},
           {"space", "left-posterior-superior"},
           {"sizes", "4 3 2"},
           {"space directions", "(2,0,0) (0,3,0) (0,0,4)"},
           {"kinds", "domain domain domain"},
           {"endian", "little"},
           {"space origin", "(10,20,30)"},
           {"encoding", "raw"}}};
}
inline HeaderFields meta_fields() {
  return {"",
          " = ",
          {{"ObjectType", "Image"},
           {"NDims", "3"},
           {"BinaryData", "True"},
           {"BinaryDataByteOrderMSB", "False"},
           {"TransformMatrix", "1 0 0 0 1 0 0 0 1"},
           {"Offset", "10 20 30"},
           {"ElementSpacing", "2 3 4"},
           {"DimSize", "4 3 2"},
           {"ElementType", "MET_SHORT"},
           {"ElementDataFile", "LOCAL"}}};
}

class TextVolumeTest : public ::testing::Test {
 protected:
  // With `numbers` little-endian 16-bit numbers from 1 on behind the header.
  std::filesystem::path nrrd(const HeaderFields& fields, int numbers = 24) {
    return written(folder_ / "a.nrrd", fields.text() + "\n" + counting(numbers));
  }
  std::filesystem::path meta(const HeaderFields& fields, int numbers = 24) {
    return written(folder_ / "a.mha", fields.text() + counting(numbers));
  }
  static std::string counting(int numbers = 24) {
    std::string bytes;
    for (int i = 1; i <= numbers; ++i) bytes += {static_cast<char>(i), '\0'};
    return bytes;
  }
  // Reads the header and the image, which must agree, and returns what was said meanwhile.
  std::string warnings(const std::filesystem::path& path, Geometry* grid = nullptr) {
    ::testing::internal::CaptureStderr();
    Geometry header, image;
    try {
      header = read_volume_header(path).geometry;
      image = read_image(path).geometry;
    } catch (const std::exception& error) {
      ADD_FAILURE() << error.what();
    }
    EXPECT_EQ(header.point({1, 2, 3}), image.point({1, 2, 3}));
    if (grid != nullptr) *grid = image;
    return ::testing::internal::GetCapturedStderr();
  }
  // The places of voxels (0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1).
  void expect_points(const std::filesystem::path& path, const std::array<Point, 4>& expected) {
    Geometry grid;
    EXPECT_EQ(warnings(path, &grid), "");
    expect_point(grid.point({0, 0, 0}), expected[0]);
    expect_point(grid.point({1, 0, 0}), expected[1]);
    expect_point(grid.point({0, 1, 0}), expected[2]);
    expect_point(grid.point({0, 0, 1}), expected[3]);
  }
  static void expect_point(const Point& found, const Point& expected) {
    for (int r = 0; r < 3; ++r) EXPECT_NEAR(found[r], expected[r], 1e-9) << "coordinate " << r;
  }

  TemporaryFolder folder_;
};

}  // namespace lamp::testing
