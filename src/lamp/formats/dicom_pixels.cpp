// Uncompressed voxels need no library: bits that are in use, their sign, and the rescale.
#include "lamp/formats/dicom_pixels.h"

#include <torch/types.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "lamp/base/errors.h"
#include "lamp/base/log.h"
#include "lamp/base/size3.h"
#include "lamp/base/text.h"
#include "lamp/formats/dicom_codec.h"
#include "lamp/formats/gzip.h"
#include "lamp/formats/raw_volume.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

// What an overlay plane within the voxels' unused bits is announced by.
constexpr std::uint32_t kOverlayBit = 0x60000102;
constexpr int kMostOverlays = 16;
// A sequence of undefined length holds at least its delimiter.
constexpr std::uint64_t kEmptySequence = 8;

constexpr std::array<const char*, 3> kUncompressed = {"", "1.2.840.10008.1.2",
                                                      "1.2.840.10008.1.2.1"};
// JPEG, JPEG-LS and JPEG 2000; not run-length coding, for GDCM crashes on a damaged one.
constexpr std::string_view kJpeg = "1.2.840.10008.1.2.4.";
constexpr std::array<const char*, 11> kJpegKinds = {"50", "51", "53", "55", "57", "70",
                                                    "80", "81", "90", "91", "92"};

std::optional<Fault> syntax_fault(const DicomElements& elements) {
  const std::string& syntax = elements.transfer_syntax();
  const bool plain = std::count(kUncompressed.begin(), kUncompressed.end(), syntax) > 0;
  const bool jpeg = syntax.starts_with(kJpeg) &&
                    std::count(kJpegKinds.begin(), kJpegKinds.end(), syntax.substr(kJpeg.size()));
  if (elements.encapsulated() ? jpeg : plain) return std::nullopt;
  if (plain || jpeg)
    return Fault{
        .found = "its voxels are not stored as its transfer syntax \"" + syntax + "\" says",
        .fix = "the file is damaged, get it again"};
  return Fault{.found = "transfer syntax \"" + ascii_text(syntax) + "\" is not supported",
               .fix = "convert the series to explicit VR little endian"};
}

bool one_number_or_none(const DicomElements& elements, std::uint32_t tag) {
  return elements.text(tag).empty() || elements.numbers(tag).size() == 1;
}

std::optional<Fault> bits_fault(const DicomElements& elements) {
  const int allocated = elements.word(kBitsAllocated).value_or(0);
  const int stored = elements.word(kBitsStored).value_or(0);
  const int high = elements.word(kHighBit).value_or(-1);
  const bool fits = stored >= 1 && stored <= allocated && high >= stored - 1 && high < allocated;
  if ((allocated == 8 || allocated == 16 || allocated == 32) && fits &&
      elements.word(kPixelRepresentation).value_or(2) <= 1 &&
      (high == stored - 1 || !elements.encapsulated()))
    return std::nullopt;
  return Fault{.found = std::to_string(stored) + " of " + std::to_string(allocated) +
                        " bits per voxel (the highest " + std::to_string(high) + ")",
               .expected = "8, 16 or 32",
               .fix = "the file is damaged, get it again"};
}

std::optional<Fault> size_fault(const DicomElements& elements) {
  if (!elements.word(kRows) || !elements.word(kColumns))
    return Fault{.found = "its Rows or Columns is missing or not one number",
                 .fix = "the header is damaged, get the file again"};
  const std::int64_t expected = std::int64_t{elements.word(kRows).value_or(0)} *
                                elements.word(kColumns).value_or(0) *
                                (elements.word(kBitsAllocated).value_or(0) / 8);
  const auto found = static_cast<std::int64_t>(elements.length(kPixels));
  const bool fits = elements.encapsulated()
                        ? expected <= found * static_cast<std::int64_t>(kMaxExpansion)
                        : found == expected + expected % 2;
  if (expected >= 1 && fits) return std::nullopt;
  return Fault{.found = std::to_string(found) + " bytes of voxels",
               .expected = std::to_string(expected),
               .fix = "get the file again"};
}

std::optional<Fault> rescale_fault(const DicomElements& elements) {
  if (!one_number_or_none(elements, kRescaleSlope) ||
      !one_number_or_none(elements, kRescaleIntercept))
    return Fault{.found = "its rescale slope or intercept is no number",
                 .fix = "export the series again"};
  const auto slope = elements.numbers(kRescaleSlope);
  if (!slope.empty() && slope.front() == 0)
    return Fault{.found = "its rescale slope is 0, which makes all voxels alike",
                 .fix = "export the series again"};
  if (elements.has(kModalityLut) && elements.length(kModalityLut) > kEmptySequence)
    return Fault{.found = "values that go through a table (ModalityLUTSequence)",
                 .expected = "a rescale slope",
                 .fix = "convert the series to NIfTI"};
  return std::nullopt;
}

bool has_overlay(const DicomElements& elements) {
  for (std::uint32_t plane = 0; plane < kMostOverlays; ++plane)
    if (elements.word(kOverlayBit + (plane << 17)).value_or(0) > 0) return true;
  return false;
}

// Moves the bits in use to the lowest place and continues the sign over the others. Returns how
// many voxels held anything but zeros or their sign in the bits above.
template <typename Signed, typename Unsigned>
std::int64_t normalize(std::string& bytes, const DicomPixels& layout) {
  const int width = layout.bits_allocated, above = width - 1 - layout.high_bit;
  const int drop = width - layout.bits_stored;
  std::int64_t changed = 0;
  for (std::size_t at = 0; at + sizeof(Unsigned) <= bytes.size(); at += sizeof(Unsigned)) {
    Unsigned word;
    std::memcpy(&word, bytes.data() + at, sizeof word);
    const auto top = static_cast<Unsigned>(word << above);
    const auto value = layout.is_signed ? static_cast<Unsigned>(static_cast<Signed>(top) >> drop)
                                        : static_cast<Unsigned>(top >> drop);
    const auto bare = static_cast<Unsigned>(top >> drop);
    changed += word != value && word != bare;
    std::memcpy(bytes.data() + at, &value, sizeof value);
  }
  return changed;
}

std::int64_t normalize_bits(std::string& bytes, const DicomPixels& layout) {
  if (layout.bits_stored == layout.bits_allocated) return 0;
  if (layout.bits_allocated == 8) return normalize<std::int8_t, std::uint8_t>(bytes, layout);
  if (layout.bits_allocated == 16) return normalize<std::int16_t, std::uint16_t>(bytes, layout);
  return normalize<std::int32_t, std::uint32_t>(bytes, layout);
}

VoxelType dicom_voxel_type(const DicomPixels& layout) {
  switch (layout.bits_allocated) {
    case 8:
      return layout.is_signed ? VoxelType::kInt8 : VoxelType::kUInt8;
    case 16:
      return layout.is_signed ? VoxelType::kInt16 : VoxelType::kUInt16;
    default:
      return layout.is_signed ? VoxelType::kInt32 : VoxelType::kUInt32;
  }
}

// Fragments that begin an image of their own: a JPEG or JPEG-LS one with SOI and another marker, a
// JPEG 2000 one with SOC and SIZ. `items`: all of PS3.5, A.4, checked.
int encoded_images(std::string_view items) {
  constexpr std::array<std::string_view, 2> kStarts = {"\xFF\xD8\xFF", "\xFF\x4F\xFF\x51"};
  constexpr std::size_t kItemHead = 8;
  int count = 0;
  bool table = true;  // the first item: where frames begin, or nothing
  while (items.size() >= kItemHead) {
    std::uint32_t length = 0;
    std::memcpy(&length, items.data() + 4, sizeof length);
    items.remove_prefix(kItemHead);
    const std::string_view fragment = items.substr(0, length);
    const bool starts = std::any_of(kStarts.begin(), kStarts.end(), [&](std::string_view start) {
      return fragment.starts_with(start);
    });
    count += starts && !table;
    table = false;
    items.remove_prefix(fragment.size());
  }
  return count;
}

void refuse_several_images(const DicomElements& elements, const fs::path& file) {
  const int count = encoded_images(elements.value(kPixels));
  if (count <= 1) return;
  cannot_read(file.string(),
              {.found = std::to_string(count) + " compressed images in one DICOM file, whose "
                                                "header says one frame",
               .expected = "one",
               .fix = "convert it to NIfTI, or export the series again"});
}

std::string stored_voxels(const DicomElements& elements, const DicomPixels& layout,
                          const fs::path& file, DicomCodec& codec) {
  std::string bytes;
  if (elements.encapsulated()) {
    refuse_several_images(elements, file);
    bytes =
        codec.decode({elements.value(kPixels), elements.transfer_syntax(), layout}, file.string());
  } else {
    bytes = elements.value(kPixels).substr(0, static_cast<std::size_t>(layout.bytes()));
  }
  const std::int64_t changed = normalize_bits(bytes, layout);
  if (changed > 0 && layout.high_bit == layout.bits_stored - 1 && !elements.encapsulated() &&
      !has_overlay(elements))
    log_warning_once(
        "voxels hold more than the " + std::to_string(layout.bits_stored) +
        " bits that the header declares, the others are dropped: " + file.parent_path().string());
  return bytes;
}

}  // namespace

std::optional<Fault> pixel_fault(const DicomElements& elements) {
  if (elements.has(kFloatPixels) || elements.has(kDoublePixels))
    return Fault{.found = "voxels as floating-point numbers",
                 .expected = "whole numbers and a rescale slope",
                 .fix = "convert it to NIfTI"};
  if (!elements.has(kPixels))
    return Fault{.found = "a DICOM file without an image", .fix = "move it away"};
  if (auto fault = syntax_fault(elements)) return fault;
  const std::string photometric = elements.text(kPhotometric);
  if (elements.word(kSamplesPerPixel) != 1 ||
      (photometric != "MONOCHROME1" && photometric != "MONOCHROME2"))
    return Fault{.found = "colour voxels",
                 .expected = "one value per voxel",
                 .fix = "convert the series to grey values"};
  if (has_frames(elements))
    return Fault{.found = ascii_text(elements.text(kFrames)) + " frames in one DICOM file",
                 .expected = "one",
                 .fix = "convert it to NIfTI"};
  // Place and rescale of its frames lie within them, and count instead of those beside them.
  if (elements.has(kFrameGroups) || elements.has(kSharedGroups))
    return Fault{.found = "an enhanced DICOM object (functional groups)",
                 .expected = "slices of a classic series",
                 .fix = "convert it to NIfTI"};
  if (auto fault = bits_fault(elements)) return fault;
  if (auto fault = size_fault(elements)) return fault;
  return rescale_fault(elements);
}

DicomPixels pixel_layout(const DicomElements& elements) {
  DicomPixels layout{.width = *elements.word(kColumns),
                     .height = *elements.word(kRows),
                     .bits_allocated = *elements.word(kBitsAllocated),
                     .bits_stored = *elements.word(kBitsStored),
                     .high_bit = *elements.word(kHighBit),
                     .is_signed = *elements.word(kPixelRepresentation) == 1};
  if (const auto slope = elements.numbers(kRescaleSlope); !slope.empty())
    layout.slope = slope.front();
  if (const auto intercept = elements.numbers(kRescaleIntercept); !intercept.empty())
    layout.intercept = intercept.front();
  return layout;
}

std::string read_dicom_pixels(const fs::path& file, const Geometry& plane, DicomCodec& codec) {
  const DicomElements elements(file, true);
  if (auto fault = pixel_fault(elements)) cannot_read(file.string(), *std::move(fault));
  const DicomPixels layout = pixel_layout(elements);
  if (plane.size != Size3{layout.width, layout.height, 1})
    cannot_read(file.string(), {.found = "it changed while it was read", .fix = "try again"});
  RawVolume raw{.geometry = plane,
                .type = dicom_voxel_type(layout),
                .slope = layout.slope,
                .intercept = layout.intercept,
                .bytes = stored_voxels(elements, layout, file, codec)};
  const torch::Tensor values = to_image(raw, {.refuse_nan = false}, file.string()).voxels;
  return {static_cast<const char*>(values.data_ptr()), values.nbytes()};
}

}  // namespace lamp
