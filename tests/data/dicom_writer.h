// Writes the smallest CT slices that DICOM readers accept (PS3.10, explicit VR little endian), with
// freely chosen faults.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "lamp/base/text.h"

namespace lamp::testing {

struct DicomSlice {
  std::string series = "1.2.3.4";
  int number = 1;
  std::array<double, 3> position_mm = {0, 0, 0};
  std::array<double, 6> rows_and_columns = {1, 0, 0, 0, 1, 0};
  std::array<double, 2> spacing_mm = {1, 1};  // between columns (x), between rows (y)
  int width = 4;
  int height = 3;
  std::string slope = "1";
  std::string intercept = "-1024";
  std::vector<std::int16_t> values;  // width * height, row by row
};

class DicomBytes {
 public:
  template <typename T>
  void number(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void element(std::uint16_t group, std::uint16_t tag, const std::string& type, std::string value) {
    if (value.size() % 2) value += type == "UI" ? '\0' : ' ';
    number(group);
    number(tag);
    bytes_ += type;
    if (type == "OW" || type == "OB") {
      number(std::uint16_t{0});
      number(static_cast<std::uint32_t>(value.size()));
    } else {
      number(static_cast<std::uint16_t>(value.size()));
    }
    bytes_ += value;
  }
  void word(std::uint16_t group, std::uint16_t tag, int value) {
    element(group, tag, "US", {static_cast<char>(value & 255), static_cast<char>(value >> 8)});
  }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

template <std::size_t N>
std::string dicom_numbers(const std::array<double, N>& values) {
  std::string text;
  for (const double value : values) text += (text.empty() ? "" : "\\") + shortest(value);
  return text;
}

inline void write_dicom(const std::filesystem::path& path, const DicomSlice& slice) {
  const std::string kind = "1.2.840.10008.5.1.4.1.1.2";  // CT image storage
  const std::string instance = slice.series + "." + std::to_string(slice.number);
  DicomBytes meta, body;
  meta.element(2, 2, "UI", kind);
  meta.element(2, 3, "UI", instance);
  meta.element(2, 0x10, "UI", "1.2.840.10008.1.2.1");
  body.element(8, 0x16, "UI", kind);
  body.element(8, 0x18, "UI", instance);
  body.element(8, 0x60, "CS", "CT");
  body.element(0x20, 0xd, "UI", "1.2.3");
  body.element(0x20, 0xe, "UI", slice.series);
  body.element(0x20, 0x13, "IS", std::to_string(slice.number));
  body.element(0x20, 0x32, "DS", dicom_numbers(slice.position_mm));
  body.element(0x20, 0x37, "DS", dicom_numbers(slice.rows_and_columns));
  body.word(0x28, 2, 1);
  body.element(0x28, 4, "CS", "MONOCHROME2");
  body.word(0x28, 0x10, slice.height);
  body.word(0x28, 0x11, slice.width);
  body.element(0x28, 0x30, "DS",
               dicom_numbers(std::array<double, 2>{slice.spacing_mm[1], slice.spacing_mm[0]}));
  body.word(0x28, 0x100, 16);
  body.word(0x28, 0x101, 16);
  body.word(0x28, 0x102, 15);
  body.word(0x28, 0x103, 1);
  body.element(0x28, 0x1052, "DS", slice.intercept);
  body.element(0x28, 0x1053, "DS", slice.slope);
  body.element(0x7fe0, 0x10, "OW",
               {reinterpret_cast<const char*>(slice.values.data()), slice.values.size() * 2});
  DicomBytes length;
  std::string size(4, '\0');
  const auto count = static_cast<std::uint32_t>(meta.bytes().size());
  std::memcpy(size.data(), &count, 4);
  length.element(2, 0, "UL", size);
  // Not synced to the disk: the tests write many.
  std::ofstream(path, std::ios::binary)
      << std::string(128, '\0') << "DICM" << length.bytes() << meta.bytes() << body.bytes();
}

}  // namespace lamp::testing
