// The kind of an object is that of its SOP class (PS3.4, B.5), its place that of the Image Plane
// module (PS3.3, C.7.6.2).
#include "lamp/formats/dicom_slice.h"

#include <algorithm>
#include <cstdlib>

#include "lamp/base/errors.h"
#include "lamp/base/text.h"
#include "lamp/base/unicode_form.h"
#include "lamp/formats/dicom_elements.h"
#include "lamp/formats/dicom_pixels.h"
#include "lamp/volume/matrix3.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

// Storage classes of what belongs to an image, by the start of their names.
struct ObjectClass {
  const char* uid;
  const char* kind;
};
constexpr std::array<ObjectClass, 18> kOtherClasses = {{
    {"1.2.840.10008.1.3.10", "a DICOM directory"},
    {"1.2.840.10008.5.1.4.1.1.481.1", "an RTIMAGE object"},
    {"1.2.840.10008.5.1.4.1.1.481.2", "an RTDOSE object"},
    {"1.2.840.10008.5.1.4.1.1.481.3", "an RTSTRUCT object"},
    {"1.2.840.10008.5.1.4.1.1.481.5", "an RTPLAN object"},
    {"1.2.840.10008.5.1.4.1.1.481.", "a radiotherapy object"},
    {"1.2.840.10008.5.1.4.1.1.66.4", "a segmentation object"},
    {"1.2.840.10008.5.1.4.1.1.66.7", "a segmentation object"},  // label map
    {"1.2.840.10008.5.1.4.1.1.66.8", "a segmentation object"},  // height map
    {"1.2.840.10008.5.1.4.1.1.66.", "a registration or raw data object"},
    {"1.2.840.10008.5.1.4.1.1.66", "a raw data object"},
    {"1.2.840.10008.5.1.4.1.1.67", "a real world value mapping"},
    {"1.2.840.10008.5.1.4.1.1.88.", "a structured report"},
    {"1.2.840.10008.5.1.4.1.1.104.", "an encapsulated document"},
    {"1.2.840.10008.5.1.4.1.1.11.", "a presentation state"},
    {"1.2.840.10008.5.1.4.1.1.9.", "a waveform"},
    {"1.2.840.10008.5.1.4.1.1.4.2", "a spectroscopy object"},
    {"1.2.840.10008.5.1.4.1.1.30", "a parametric map"},
}};

bool is_class(const std::string& uid, const std::string& name) {
  return name.back() == '.' ? uid.starts_with(name) : uid == name;
}

constexpr std::array<const char*, 16> kOtherModalities = {
    "RTDOSE", "RTSTRUCT", "RTPLAN", "RTRECORD", "RTIMAGE", "REG", "SEG", "SR",
    "PR",     "KO",       "DOC",    "FID",      "RWV",     "ECG", "AU",  "PLAN"};

std::string other_kind(const DicomElements& elements) {
  const std::string uid = elements.text(kSopClass), modality = elements.text(kModality);
  for (const ObjectClass& known : kOtherClasses)
    if (is_class(uid, known.uid)) return known.kind;
  for (const char* known : kOtherModalities)
    if (modality == known) return "an object of modality " + modality;
  const bool image =
      elements.has(kPixels) || elements.has(kFloatPixels) || elements.has(kDoublePixels);
  if (!image && !uid.empty())
    return "a DICOM object without an image" +
           (modality.empty() ? "" : " (" + ascii_text(modality) + ")");
  return "";
}

// In UTF-8. Of the other character sets (PS3.3, C.12.1.1.2) the Latin one is common.
std::string description_text(const DicomElements& elements) {
  const std::string text = elements.text(kSeriesDescription);
  const std::string set = elements.text(kCharacterSet);
  if (set == "ISO_IR 192" && is_utf8(text)) return printable(text);
  if (set != "ISO_IR 100") return ascii_text(text);
  std::string converted;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x80) converted += static_cast<char>(0xC0 | byte >> 6);
    converted += byte >= 0x80 ? static_cast<char>(0x80 | (byte & 0x3F)) : c;
  }
  return printable(converted);
}

std::string series_text(const DicomElements& elements) {
  const std::string number = ascii_text(elements.text(kSeriesNumber));
  const std::string description = description_text(elements);
  std::string text = number.empty() ? "" : "SeriesNumber " + number + ", ";
  text += description.empty() ? "without a description" : "\"" + description + "\"";
  if (const std::string modality = ascii_text(elements.text(kModality)); !modality.empty())
    text += ", " + modality;
  return text;
}

// Written as "2", "+2" or "002".
std::string series_number(const DicomElements& elements) {
  const std::vector<double> number = elements.numbers(kSeriesNumber);
  return number.size() == 1 ? shortest(number.front()) : "";
}

bool is_localizer(const DicomElements& elements) {
  return elements.text(kImageType).find("LOCALIZER") != std::string::npos;
}

template <std::size_t N>
bool take_numbers(const DicomElements& elements, std::uint32_t tag, std::array<double, N>& out) {
  const std::vector<double> found = elements.numbers(tag);
  if (found.size() != N) return false;
  std::copy(found.begin(), found.end(), out.begin());
  return true;
}

Fault no_place(const std::string& name, int count) {
  return {.found = "its " + name + " is missing or not " + std::to_string(count) +
                   " numbers, so its place in space is unknown",
          .fix = "export the series again"};
}

std::optional<Fault> place(const DicomElements& elements, Geometry& plane) {
  std::array<double, 6> along{};
  std::array<double, 2> spacing{};
  if (!take_numbers(elements, kImageOrientation, along))
    return no_place("ImageOrientationPatient", 6);
  if (!take_numbers(elements, kPixelSpacing, spacing)) return no_place("PixelSpacing", 2);
  if (!take_numbers(elements, kImagePosition, plane.origin_mm))
    return no_place("ImagePositionPatient", 3);
  plane.size = {*elements.word(kColumns), *elements.word(kRows), 1};
  plane.spacing_mm = {spacing[1], spacing[0], 1};  // DICOM: between rows first
  const Vector3 u = {along[0], along[1], along[2]}, v = {along[3], along[4], along[5]};
  set_column(plane.direction, 0, u);
  set_column(plane.direction, 1, v);
  set_column(plane.direction, 2,
             {u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]});
  return std::nullopt;
}

// Of "12.340\-5\1e-3": 2, 0 and as many as there may be.
std::array<int, 3> decimals_of(const std::string& text) {
  constexpr int kMany = 9;
  std::array<int, 3> decimals = {0, 0, 0};
  std::size_t start = 0;
  for (int& count : decimals) {
    const std::size_t end = std::min(text.find('\\', start), text.size());
    std::string part = text.substr(start, end - start);
    start = std::min(end + 1, text.size());
    if (part.find_first_of("eE") != std::string::npos) count = kMany;
    const std::size_t point = part.find('.');
    if (point == std::string::npos || count == kMany) continue;
    const std::size_t last = part.find_last_of("123456789");
    if (last != std::string::npos && last > point) count = static_cast<int>(last - point);
  }
  return decimals;
}

double number_or_zero(const DicomElements& elements, std::uint32_t tag) {
  const std::vector<double> found = elements.numbers(tag);
  return found.size() == 1 ? std::abs(found.front()) : 0;
}

// In the order in which they explain best.
void read_phase(const DicomElements& elements, DicomSlice& slice) {
  constexpr std::array<std::pair<std::uint32_t, const char*>, 9> kTells = {
      {{kTemporalPosition, "TemporalPositionIdentifier"},
       {kTriggerTime, "TriggerTime"},
       {kEchoTime, "EchoTime"},
       {kEchoNumbers, "EchoNumbers"},
       {kAcquisitionNumber, "AcquisitionNumber"},
       {kConvolutionKernel, "ConvolutionKernel"},
       {kImageType, "ImageType"},
       {kAcquisitionTime, "AcquisitionTime"},
       {kContentTime, "ContentTime"}}};
  for (const auto& [tag, name] : kTells)
    slice.phase.emplace_back(name, ascii_text(elements.text(tag)));
  const std::optional<double> b_value = elements.real(kDiffusionBValue);
  slice.phase.emplace_back("DiffusionBValue", b_value ? shortest(*b_value) : "");
}

void read_numbers(const DicomElements& elements, DicomSlice& slice) {
  slice.decimals = decimals_of(elements.text(kImagePosition));
  const std::vector<double> number = elements.numbers(kInstanceNumber);
  if (number.size() == 1 && std::abs(number.front()) < 1e9)
    slice.instance_number = static_cast<int>(number.front());
  slice.spacing_mm = number_or_zero(elements, kSpacingBetweenSlices);
  slice.thickness_mm = number_or_zero(elements, kSliceThickness);
  slice.rescaled =
      !elements.text(kRescaleSlope).empty() || !elements.text(kRescaleIntercept).empty();
  read_phase(elements, slice);
}

}  // namespace

DicomSlice read_dicom_slice(const fs::path& path) {
  const DicomElements elements(path, false);
  DicomSlice slice{.file = path,
                   .series_uid = ascii_text(elements.text(kSeriesInstance)),
                   .instance_uid = elements.text(kSopInstance),
                   .series_number = series_number(elements),
                   .series_text = series_text(elements),
                   .patient = ascii_text(elements.text(kPatientId)),
                   .frame_of_reference = ascii_text(elements.text(kFrameOfReference)),
                   .other_kind = other_kind(elements),
                   .localizer = is_localizer(elements),
                   .multi_frame = has_frames(elements)};
  if (!slice.other_kind.empty()) return slice;
  slice.fault = pixel_fault(elements);
  if (!slice.fault) slice.fault = place(elements, slice.plane);
  if (slice.fault) {
    slice.fault->file = path.string();
    slice.fault->what = "cannot read";
    return slice;
  }
  const Vector3 normal = column(slice.plane.direction, 2);
  for (int r = 0; r < 3; ++r) slice.position_mm += normal[r] * slice.plane.origin_mm[r];
  read_numbers(elements, slice);
  return slice;
}

}  // namespace lamp
