// The data elements of one DICOM file, checked from the first to the last before anything else
// trusts them: a file that is cut short, or whose elements have another type than the standard
// gives them, is refused here.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lamp {

// Codes and numbers are ASCII (PS3.5, 6.1): what a damaged file holds in their place does not get
// into messages.
std::string ascii_text(std::string text);

// What this program uses of an image, by tag.
enum DicomTag : std::uint32_t {
  kTransferSyntax = 0x00020010,
  kCharacterSet = 0x00080005,
  kImageType = 0x00080008,
  kSopClass = 0x00080016,
  kSopInstance = 0x00080018,
  kAcquisitionTime = 0x00080032,
  kContentTime = 0x00080033,
  kModality = 0x00080060,
  kSeriesDescription = 0x0008103E,
  kPatientId = 0x00100020,
  kSliceThickness = 0x00180050,
  kEchoTime = 0x00180081,
  kEchoNumbers = 0x00180086,
  kSpacingBetweenSlices = 0x00180088,
  kTriggerTime = 0x00181060,
  kConvolutionKernel = 0x00181210,
  kDiffusionBValue = 0x00189087,
  kSeriesInstance = 0x0020000E,
  kSeriesNumber = 0x00200011,
  kAcquisitionNumber = 0x00200012,
  kInstanceNumber = 0x00200013,
  kImagePosition = 0x00200032,
  kImageOrientation = 0x00200037,
  kFrameOfReference = 0x00200052,
  kTemporalPosition = 0x00200100,
  kSamplesPerPixel = 0x00280002,
  kPhotometric = 0x00280004,
  kFrames = 0x00280008,
  kRows = 0x00280010,
  kColumns = 0x00280011,
  kPixelSpacing = 0x00280030,
  kBitsAllocated = 0x00280100,
  kBitsStored = 0x00280101,
  kHighBit = 0x00280102,
  kPixelRepresentation = 0x00280103,
  kRescaleIntercept = 0x00281052,
  kRescaleSlope = 0x00281053,
  kModalityLut = 0x00283000,
  kSharedGroups = 0x52009229,
  kFrameGroups = 0x52009230,
  kFloatPixels = 0x7FE00008,
  kDoublePixels = 0x7FE00009,
  kPixels = 0x7FE00010,
};

struct DicomElement {
  std::string type;  // two letters; empty where the file does not say
  std::uint64_t start = 0;
  std::uint64_t length = 0;  // of the value, or of all its items
};

// The top level of one data set. Values are found in the bytes the object holds, which end with the
// header if the voxels were not asked for.
class DicomElements {
 public:
  // Starts with the preamble and "DICM" of PS3.10, or with "DICM", the file's meta information or a
  // data set's first element, as files do that have lost what comes before it?
  static bool is_dicom(std::string_view start);

  // Throws InputError that names `path`, if the file is no DICOM, is cut short, contradicts itself
  // or is not encoded in little endian. The voxels' bytes are left in the file, unless
  // `with_voxels` or their length cannot be told otherwise.
  DicomElements(const std::filesystem::path& path, bool with_voxels);

  bool has(std::uint32_t tag) const { return elements_.contains(tag); }
  // Text without the padding to even length; empty if there is none.
  std::string text(std::uint32_t tag) const;
  // Of an element with one unsigned number of 16 bits.
  std::optional<int> word(std::uint32_t tag) const;
  // Of an element with one binary number of 64 bits (FD).
  std::optional<double> real(std::uint32_t tag) const;
  // Decimal strings; empty if there are none or one is no finite number.
  std::vector<double> numbers(std::uint32_t tag) const;

  const std::string& transfer_syntax() const { return transfer_syntax_; }
  bool encapsulated() const { return encapsulated_; }  // are the voxels in fragments (compressed)?
  std::uint64_t length(std::uint32_t tag) const { return elements_.at(tag).length; }
  // The bytes of a value; with_voxels is needed for those of kPixels.
  std::string_view value(std::uint32_t tag) const;

 private:
  bool parse(std::uint64_t file_size, const std::string& file);
  void check_types(const std::string& file) const;

  std::string bytes_;
  std::map<std::uint32_t, DicomElement> elements_;
  std::string transfer_syntax_;
  bool encapsulated_ = false;
};

// Is there a NumberOfFrames that is not one ("1", "01" and "+1" are)?
bool has_frames(const DicomElements& elements);

}  // namespace lamp
