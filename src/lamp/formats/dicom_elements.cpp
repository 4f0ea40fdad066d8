// The encoding of data elements is that of PS3.5, chapter 7; their types those of PS3.6.
#include "lamp/formats/dicom_elements.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "lamp/base/errors.h"
#include "lamp/base/text.h"
#include "lamp/formats/dicom_walker.h"
#include "lamp/formats/file_start.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

// Most headers are shorter; a longer one is read with the rest of its file.
constexpr std::size_t kFirstBytes = std::size_t{64} << 10;

struct Definition {
  std::uint32_t tag;
  const char* name;
  const char* type;
};

constexpr std::array<Definition, 36> kDictionary = {{
    {kTransferSyntax, "TransferSyntaxUID", "UI"},
    {kCharacterSet, "SpecificCharacterSet", "CS"},
    {kImageType, "ImageType", "CS"},
    {kSopClass, "SOPClassUID", "UI"},
    {kSopInstance, "SOPInstanceUID", "UI"},
    {kAcquisitionTime, "AcquisitionTime", "TM"},
    {kContentTime, "ContentTime", "TM"},
    {kModality, "Modality", "CS"},
    {kSeriesDescription, "SeriesDescription", "LO"},
    {kSliceThickness, "SliceThickness", "DS"},
    {kEchoTime, "EchoTime", "DS"},
    {kEchoNumbers, "EchoNumbers", "IS"},
    {kSpacingBetweenSlices, "SpacingBetweenSlices", "DS"},
    {kTriggerTime, "TriggerTime", "DS"},
    {kConvolutionKernel, "ConvolutionKernel", "SH"},
    {kSeriesInstance, "SeriesInstanceUID", "UI"},
    {kSeriesNumber, "SeriesNumber", "IS"},
    {kAcquisitionNumber, "AcquisitionNumber", "IS"},
    {kInstanceNumber, "InstanceNumber", "IS"},
    {kImagePosition, "ImagePositionPatient", "DS"},
    {kImageOrientation, "ImageOrientationPatient", "DS"},
    {kTemporalPosition, "TemporalPositionIdentifier", "IS"},
    {kSamplesPerPixel, "SamplesPerPixel", "US"},
    {kPhotometric, "PhotometricInterpretation", "CS"},
    {kFrames, "NumberOfFrames", "IS"},
    {kRows, "Rows", "US"},
    {kColumns, "Columns", "US"},
    {kPixelSpacing, "PixelSpacing", "DS"},
    {kBitsAllocated, "BitsAllocated", "US"},
    {kBitsStored, "BitsStored", "US"},
    {kHighBit, "HighBit", "US"},
    {kPixelRepresentation, "PixelRepresentation", "US"},
    {kRescaleIntercept, "RescaleIntercept", "DS"},
    {kRescaleSlope, "RescaleSlope", "DS"},
    {kModalityLut, "ModalityLUTSequence", "SQ"},
    {kPixels, "PixelData", "OW"},
}};

bool has_type(const Definition& defined, const std::string& type) {
  // Unknown is what archives write that have taken an element over without looking it up.
  if (type.empty() || type == "UN" || type == defined.type) return true;
  return defined.tag == kPixels && type == "OB";
}

}  // namespace

bool DicomElements::is_dicom(std::string_view start) { return find_dicom_start(start).has_value(); }

DicomElements::DicomElements(const fs::path& path, bool with_voxels) {
  const std::string file = path.string();
  FileStart start = read_file_start(path, with_voxels ? kWholeFile : kFirstBytes);
  bytes_ = std::move(start.bytes);
  if (!parse(start.file_size, file)) {
    bytes_ = read_file_start(path, kWholeFile).bytes;
    parse(bytes_.size(), file);
  }
  check_types(file);
  if (with_voxels) return;
  const auto pixels = elements_.find(kPixels);
  if (pixels != elements_.end() && pixels->second.start < bytes_.size())
    bytes_.resize(pixels->second.start);
  bytes_.shrink_to_fit();
}

// False if the bytes at hand end before it is clear what the file holds.
bool DicomElements::parse(std::uint64_t file_size, const std::string& file) {
  if (bytes_.empty())
    cannot_read(file, {.found = "an empty file (0 bytes)", .fix = "get it again"});
  const auto start = find_dicom_start(bytes_);
  if (!start)
    cannot_read(
        file, {.found = "no DICOM file (" + describe_start(bytes_) + ")", .fix = "check the path"});
  DicomWalker walker({.bytes = bytes_, .file_size = file_size, .at = *start, .file = file});
  try {
    const auto meta = walker.meta();
    elements_.clear();
    transfer_syntax_.clear();
    if (const auto syntax = meta.find(kTransferSyntax); syntax != meta.end()) {
      elements_ = {*syntax};
      transfer_syntax_ = text(kTransferSyntax);
    }
    elements_.merge(walker.body(transfer_syntax_));
    encapsulated_ = walker.encapsulated();
  } catch (const DicomWalker::NeedsMore&) {
    return false;
  }
  return true;
}

void DicomElements::check_types(const std::string& file) const {
  for (const Definition& defined : kDictionary) {
    const auto element = elements_.find(defined.tag);
    if (element == elements_.end() || has_type(defined, element->second.type)) continue;
    cannot_read(
        file, {.found = std::string("its ") + defined.name + " of the type " + element->second.type,
               .expected = defined.type,
               .fix = "the header is damaged, get the file again"});
  }
}

std::string_view DicomElements::value(std::uint32_t tag) const {
  const DicomElement& element = elements_.at(tag);
  return std::string_view(bytes_).substr(element.start, element.length);
}

std::string DicomElements::text(std::uint32_t tag) const {
  if (!has(tag)) return "";
  const std::string_view padded = value(tag);
  const std::size_t first = padded.find_first_not_of(' ');
  const std::size_t last = padded.find_last_not_of(std::string_view(" \0", 2));
  if (first == std::string_view::npos || last == std::string_view::npos || first > last) return "";
  return std::string(padded.substr(first, last + 1 - first));
}

std::string ascii_text(std::string text) {
  for (char& c : text)
    if (static_cast<unsigned char>(c) >= 0x80) c = '?';
  return printable(text);
}

std::optional<int> DicomElements::word(std::uint32_t tag) const {
  if (!has(tag) || value(tag).size() != 2) return std::nullopt;
  std::uint16_t number = 0;
  std::memcpy(&number, value(tag).data(), 2);
  return number;
}

std::optional<double> DicomElements::real(std::uint32_t tag) const {
  if (!has(tag) || value(tag).size() != sizeof(double)) return std::nullopt;
  double number = 0;
  std::memcpy(&number, value(tag).data(), sizeof number);
  return number;
}

std::vector<double> DicomElements::numbers(std::uint32_t tag) const {
  const std::string all = text(tag);
  if (all.find_first_not_of("0123456789+-.eE \\") != std::string::npos) return {};
  std::vector<double> found;
  std::size_t start = 0;
  while (start <= all.size()) {
    const std::size_t end = std::min(all.find('\\', start), all.size());
    const std::string part = all.substr(start, end - start);
    char* stop = nullptr;
    const double value = std::strtod(part.c_str(), &stop);
    while (*stop == ' ') ++stop;
    if (part.empty() || *stop != '\0' || !std::isfinite(value)) return {};
    found.push_back(value);
    start = end + 1;
  }
  return found;
}

bool has_frames(const DicomElements& elements) {
  return !elements.text(kFrames).empty() && elements.numbers(kFrames) != std::vector<double>{1};
}

}  // namespace lamp
