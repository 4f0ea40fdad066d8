// Writes the smallest CT slices that DICOM readers accept (PS3.10), with freely chosen faults, and
// in every encoding that is read: with and without preamble and meta information, explicit and
// implicit.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "lamp/base/text.h"

namespace lamp::testing {

// Type and value of an element, by tag.
struct DicomField {
  std::string type, value;
};
using DicomFields = std::map<std::uint32_t, DicomField>;

enum class DicomEncoding {
  kExplicitFile,  // preamble, "DICM", meta information
  kImplicitFile,  // likewise
  kNoPreamble,    // meta information at once
  kMarkOnly,      // "DICM" and meta information
  kBareExplicit,  // the data set alone
  kBareImplicit,
};

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
  int bits_stored = 16;
  bool is_signed = true;
  DicomFields more = {};  // elements besides these, or in their place; of the type "" = left out
  DicomEncoding encoding = DicomEncoding::kExplicitFile;
};

inline std::string dicom_word(int value) {
  return {static_cast<char>(value & 255), static_cast<char>(value >> 8)};
}

// Little endian.
class DicomBytes {
 public:
  template <typename T>
  void number(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void element(std::uint32_t tag, const DicomField& field, bool explicit_types = true) {
    std::string value = field.value;
    if (value.size() % 2) value += field.type == "UI" ? '\0' : ' ';
    number(static_cast<std::uint16_t>(tag >> 16));
    number(static_cast<std::uint16_t>(tag));
    const bool is_long = field.type == "OW" || field.type == "OB" || field.type == "SQ" ||
                         field.type == "UN" || field.type == "UT";
    if (explicit_types) bytes_ += field.type;
    if (explicit_types && is_long) number(std::uint16_t{0});
    if (explicit_types && !is_long)
      number(static_cast<std::uint16_t>(value.size()));
    else
      number(static_cast<std::uint32_t>(value.size()));
    bytes_ += value;
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

inline const char* const kCtImage = "1.2.840.10008.5.1.4.1.1.2";

inline DicomFields dicom_fields(const DicomSlice& slice) {
  DicomFields fields = {
      {0x00080016, {"UI", kCtImage}},
      {0x00080018, {"UI", slice.series + "." + std::to_string(slice.number)}},
      {0x00080060, {"CS", "CT"}},
      {0x0020000D, {"UI", "1.2.3"}},
      {0x0020000E, {"UI", slice.series}},
      {0x00200013, {"IS", std::to_string(slice.number)}},
      {0x00200032, {"DS", dicom_numbers(slice.position_mm)}},
      {0x00200037, {"DS", dicom_numbers(slice.rows_and_columns)}},
      {0x00280002, {"US", dicom_word(1)}},
      {0x00280004, {"CS", "MONOCHROME2"}},
      {0x00280010, {"US", dicom_word(slice.height)}},
      {0x00280011, {"US", dicom_word(slice.width)}},
      {0x00280030,
       {"DS", dicom_numbers(std::array<double, 2>{slice.spacing_mm[1], slice.spacing_mm[0]})}},
      {0x00280100, {"US", dicom_word(16)}},
      {0x00280101, {"US", dicom_word(slice.bits_stored)}},
      {0x00280102, {"US", dicom_word(slice.bits_stored - 1)}},
      {0x00280103, {"US", dicom_word(slice.is_signed ? 1 : 0)}},
      {0x00281052, {"DS", slice.intercept}},
      {0x00281053, {"DS", slice.slope}},
      {0x7FE00010,
       {"OW", {reinterpret_cast<const char*>(slice.values.data()), slice.values.size() * 2}}}};
  for (const auto& [tag, field] : slice.more) {
    fields[tag] = field;
    if (field.type.empty()) fields.erase(tag);
  }
  return fields;
}

inline std::string dicom_meta(const DicomFields& fields, const std::string& syntax) {
  DicomBytes meta, length;
  if (fields.contains(0x00080016)) meta.element(0x00020002, fields.at(0x00080016));
  if (fields.contains(0x00080018)) meta.element(0x00020003, fields.at(0x00080018));
  meta.element(0x00020010, {"UI", syntax});
  std::string size(4, '\0');
  const auto count = static_cast<std::uint32_t>(meta.bytes().size());
  std::memcpy(size.data(), &count, 4);
  length.element(0x00020000, {"UL", size});
  return length.bytes() + meta.bytes();
}

// The file's bytes. `syntax` (of kExplicitFile) may be another one than what is encoded.
inline std::string dicom_bytes(const DicomSlice& slice,
                               const std::string& syntax = "1.2.840.10008.1.2.1") {
  const DicomEncoding encoding = slice.encoding;
  const bool implicit =
      encoding == DicomEncoding::kImplicitFile || encoding == DicomEncoding::kBareImplicit;
  const DicomFields fields = dicom_fields(slice);
  DicomBytes body;
  for (const auto& [tag, field] : fields) body.element(tag, field, !implicit);
  if (encoding == DicomEncoding::kBareExplicit || encoding == DicomEncoding::kBareImplicit)
    return body.bytes();
  const std::string rest =
      dicom_meta(fields, implicit ? "1.2.840.10008.1.2" : syntax) + body.bytes();
  if (encoding == DicomEncoding::kNoPreamble) return rest;
  if (encoding == DicomEncoding::kMarkOnly) return "DICM" + rest;
  return std::string(128, '\0') + "DICM" + rest;
}

// A slice whose voxels are the one JPEG lossless image of ISO 10918-1 that another program wrote
// for the values -300, -200, ..., 800.
inline std::string jpeg_slice(DicomSlice slice, const std::string& stream,
                              const std::string& syntax = "1.2.840.10008.1.2.4.70") {
  slice.more[0x7FE00010] = {};
  const auto number = [](std::uint32_t value) {
    return std::string(reinterpret_cast<const char*>(&value), 4);
  };
  const std::string item = number(0xE000FFFE), end = number(0xE0DDFFFE);
  return dicom_bytes(slice, syntax) + number(0x00107FE0) + "OB" + std::string(2, '\0') +
         number(0xFFFFFFFF) + item + number(0) + item +
         number(static_cast<std::uint32_t>(stream.size())) + stream + end + number(0);
}

inline std::string jpeg_stream() {
  const std::string hex =
      "ffd8ffc3000b100003000401011100ffc40016000101010000000000000000000000000007090fffda00080101"
      "00010000dfb51919192c8323232590646464ffd900";
  std::string bytes;
  for (std::size_t i = 0; i < hex.size(); i += 2)
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return bytes;
}

inline void write_dicom(const std::filesystem::path& path, const DicomSlice& slice) {
  // Not synced to the disk: the tests write many.
  std::ofstream(path, std::ios::binary) << dicom_bytes(slice);
}

}  // namespace lamp::testing
