// The encoding of data elements is that of PS3.5, chapter 7.
#include "lamp/data/dicom_slice.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <optional>
#include <string_view>
#include <vector>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/data/gzip.h"
#include "lamp/data/matrix3.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t kStart = 132;  // behind preamble and "DICM"
constexpr std::uint32_t kUndefined = 0xFFFFFFFF;
constexpr std::uint32_t kItem = 0xFFFEE000, kItemEnd = 0xFFFEE00D, kSequenceEnd = 0xFFFEE0DD;
constexpr std::uint32_t kPixels = 0x7FE00010;
constexpr int kMostNesting = 32;

[[noreturn]] void refuse(const std::string& file, const std::string& detail) {
  throw InputError("cannot read", file, detail);
}

// The top-level elements of a file, by tag.
using Elements = std::map<std::uint32_t, std::string_view>;

struct Element {
  std::uint32_t tag = 0;
  std::string_view type;
  std::uint32_t length = 0;
};

class Walker {
 public:
  Walker(std::string_view bytes, const std::string& file) : bytes_(bytes), file_(file) {}

  // The file's meta information (group 2), which is always explicit.
  Elements meta() {
    at_ = kStart;
    Elements elements;
    while (at_ + 8 <= bytes_.size() && number<std::uint16_t>(at_) == 2) {
      const Element element = next(true);
      elements[element.tag] = take(element.length);
    }
    return elements;
  }

  // Everything behind it, to the end of the file.
  Elements body(bool explicit_types) {
    Elements elements;
    std::uint32_t last = 0;
    while (at_ < bytes_.size()) {
      const Element element = next(explicit_types);
      if (element.tag <= last) damaged();
      last = element.tag;
      const std::size_t start = at_;
      skip_value(element, explicit_types, 0);
      elements[element.tag] = bytes_.substr(start, at_ - start);
      if (element.tag == kPixels) encapsulated_ = element.length == kUndefined;
    }
    return elements;
  }

  bool encapsulated() const { return encapsulated_; }

 private:
  [[noreturn]] void damaged() const {
    refuse(file_, "the DICOM file is cut short or damaged; get it again");
  }

  template <typename T>
  T number(std::size_t at) const {
    if (at + sizeof(T) > bytes_.size()) damaged();
    T value;
    std::memcpy(&value, bytes_.data() + at, sizeof value);
    return value;
  }

  std::string_view take(std::uint32_t length) {
    if (length > bytes_.size() - at_) damaged();
    at_ += length;
    return bytes_.substr(at_ - length, length);
  }

  Element next(bool explicit_types) {
    Element element;
    element.tag = std::uint32_t{number<std::uint16_t>(at_)} << 16 | number<std::uint16_t>(at_ + 2);
    at_ += 4;
    const bool bare =
        element.tag == kItem || element.tag == kItemEnd || element.tag == kSequenceEnd;
    if (!explicit_types || bare) {
      element.length = number<std::uint32_t>(at_);
      at_ += 4;
      return element;
    }
    element.type = take(2);
    constexpr std::string_view kTypes =
        "AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US "
        "OB OD OF OL OV OW SQ SV UC UN UR UT UV ";
    const std::size_t known = kTypes.find(std::string(element.type) + ' ');
    if (known == std::string_view::npos || known % 3 != 0) damaged();
    const bool is_long = known >= kTypes.find("OB");
    element.length = is_long ? number<std::uint32_t>(at_ + 2) : number<std::uint16_t>(at_);
    at_ += is_long ? 6 : 2;
    return element;
  }

  void skip_value(const Element& element, bool explicit_types, int depth) {
    const bool sequence = element.type == "SQ";
    if (element.length != kUndefined && !sequence) {
      take(element.length);
    } else {
      // What is unknown and without a length is implicit (PS3.5, 6.2.2).
      const bool inside = explicit_types && element.type != "UN";
      skip_items(element.length, inside, element.tag == kPixels, depth);
    }
  }

  // Items up to their delimiter or over `length` bytes.
  void skip_items(std::uint32_t length, bool explicit_types, bool fragments, int depth) {
    if (depth > kMostNesting || (length != kUndefined && length > bytes_.size() - at_)) damaged();
    const std::size_t end = length == kUndefined ? bytes_.size() : at_ + length;
    while (length == kUndefined || at_ < end) {
      const Element item = next(explicit_types);
      if (item.tag == kSequenceEnd && length == kUndefined) return;
      if (item.tag != kItem || (fragments && item.length == kUndefined)) damaged();
      if (fragments) {
        take(item.length);
      } else {
        skip_elements(item.length, explicit_types, depth + 1);
      }
    }
    if (at_ != end) damaged();
  }

  void skip_elements(std::uint32_t length, bool explicit_types, int depth) {
    if (length != kUndefined && length > bytes_.size() - at_) damaged();
    const std::size_t end = length == kUndefined ? bytes_.size() : at_ + length;
    while (length == kUndefined || at_ < end) {
      const Element element = next(explicit_types);
      if (element.tag == kItemEnd && length == kUndefined) return;
      skip_value(element, explicit_types, depth);
    }
    if (at_ != end) damaged();
  }

  std::string_view bytes_;
  const std::string& file_;
  std::size_t at_ = kStart;
  bool encapsulated_ = false;
};

// Text without the padding to even length.
std::string text_of(const Elements& elements, std::uint32_t tag) {
  const auto found = elements.find(tag);
  if (found == elements.end()) return "";
  std::string text(found->second);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\0')) text.pop_back();
  return text;
}

std::optional<int> word(const Elements& elements, std::uint32_t tag) {
  const auto found = elements.find(tag);
  if (found == elements.end() || found->second.size() != 2) return std::nullopt;
  std::uint16_t value = 0;
  std::memcpy(&value, found->second.data(), 2);
  return value;
}

// Decimal strings separated by backslashes; empty if one is no finite number.
std::vector<double> decimals(const std::string& text) {
  std::vector<double> numbers;
  std::size_t start = 0;
  while (start <= text.size()) {
    const std::size_t end = std::min(text.find('\\', start), text.size());
    const std::string part = text.substr(start, end - start);
    char* stop = nullptr;
    const double value = std::strtod(part.c_str(), &stop);
    while (*stop == ' ') ++stop;
    if (part.empty() || *stop != '\0' || !std::isfinite(value)) return {};
    numbers.push_back(value);
    start = end + 1;
  }
  return numbers;
}

template <std::size_t N>
std::array<double, N> required(const Elements& elements, std::uint32_t tag, const std::string& name,
                               const std::string& file) {
  const std::vector<double> found = decimals(text_of(elements, tag));
  if (found.size() != N) {
    refuse(file, "its " + name + " is missing or not " + std::to_string(N) +
                     " numbers, so its place in space is unknown; export the series again");
  }
  std::array<double, N> numbers{};
  std::copy(found.begin(), found.end(), numbers.begin());
  return numbers;
}

bool is_explicit(const std::string& syntax, const std::string& file) {
  if (syntax == "1.2.840.10008.1.2") return false;
  // Among them run-length coding: GDCM crashes on a damaged one.
  if (!syntax.starts_with("1.2.840.10008.1.2.") || syntax == "1.2.840.10008.1.2.2" ||
      syntax == "1.2.840.10008.1.2.1.99" || syntax == "1.2.840.10008.1.2.5")
    refuse(file, "transfer syntax \"" + syntax +
                     "\" is not supported; convert the series to "
                     "explicit VR little endian");
  return true;
}

void check_optional_number(const Elements& elements, std::uint32_t tag, const std::string& file) {
  if (elements.contains(tag) && decimals(text_of(elements, tag)).size() != 1)
    refuse(file, "its rescale slope or intercept is no number; export the series again");
}

// GDCM takes these on trust.
void check_pixels(const Elements& elements, bool encapsulated, const std::string& file) {
  if (!elements.contains(kPixels)) refuse(file, "a DICOM file without an image; move it away");
  if (word(elements, 0x00280002) != 1 || !text_of(elements, 0x00280004).starts_with("MONOCHROME"))
    refuse(file, "colour voxels, expected one value per voxel");
  if (const std::string frames = text_of(elements, 0x00280008); !frames.empty() && frames != "1")
    refuse(file, frames + " frames in one DICOM file, expected one; convert it to NIfTI");
  const int allocated = word(elements, 0x00280100).value_or(0);
  const int stored = word(elements, 0x00280101).value_or(0);
  const int high = word(elements, 0x00280102).value_or(-1);
  if ((allocated != 8 && allocated != 16 && allocated != 32) || stored < 1 || stored > allocated ||
      high != stored - 1 || word(elements, 0x00280103).value_or(2) > 1)
    refuse(file, std::to_string(stored) + " of " + std::to_string(allocated) +
                     " bits per voxel, expected 8, 16 or 32; the file is damaged");
  const std::int64_t expected = std::int64_t{word(elements, 0x00280010).value_or(0)} *
                                word(elements, 0x00280011).value_or(0) * (allocated / 8);
  const auto found = static_cast<std::int64_t>(elements.at(kPixels).size());
  const bool fits = encapsulated ? expected <= found * static_cast<std::int64_t>(kMaxExpansion)
                                 : found == expected + expected % 2;
  if (expected < 1 || !fits)
    refuse(file, "found " + std::to_string(found) + " bytes of voxels, expected " +
                     std::to_string(expected) + "; get the file again");
  check_optional_number(elements, 0x00281052, file);
  check_optional_number(elements, 0x00281053, file);
}

Geometry plane_of(const Elements& elements, const std::string& file) {
  const auto along = required<6>(elements, 0x00200037, "ImageOrientationPatient", file);
  const auto spacing = required<2>(elements, 0x00280030, "PixelSpacing", file);
  Geometry plane;
  plane.origin_mm = required<3>(elements, 0x00200032, "ImagePositionPatient", file);
  plane.size = {word(elements, 0x00280011).value_or(0), word(elements, 0x00280010).value_or(0), 1};
  plane.spacing_mm = {spacing[1], spacing[0], 1};  // DICOM: between rows first
  const Vector3 u = {along[0], along[1], along[2]}, v = {along[3], along[4], along[5]};
  set_column(plane.direction, 0, u);
  set_column(plane.direction, 1, v);
  set_column(plane.direction, 2,
             {u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]});
  return plane;
}

}  // namespace

bool is_dicom_file(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  std::array<char, kStart> start{};
  return stream.read(start.data(), start.size()) &&
         std::string_view(start.data() + 128, 4) == "DICM";
}

DicomSlice read_dicom_slice(const fs::path& path) {
  const std::string file = path.string();
  const std::string bytes = read_file(path);
  Walker walker(bytes, file);
  const Elements meta = walker.meta();
  const Elements body = walker.body(is_explicit(text_of(meta, 0x00020010), file));
  check_pixels(body, walker.encapsulated(), file);
  DicomSlice slice{
      .file = path, .series_uid = text_of(body, 0x0020000E), .plane = plane_of(body, file)};
  const Vector3 normal = column(slice.plane.direction, 2);
  for (int r = 0; r < 3; ++r) slice.position_mm += normal[r] * slice.plane.origin_mm[r];
  return slice;
}

}  // namespace lamp
