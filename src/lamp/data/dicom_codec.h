// Compressed voxels through GDCM's codecs. GDCM never sees a user's file, on some of which it ends
// the process, but one that is composed here from values that have been checked.
#pragma once

#include <string>
#include <string_view>

#include "lamp/data/dicom_pixels.h"

namespace lamp {

struct EncodedSlice {
  std::string_view fragments;  // with their items, up to the delimiter
  std::string transfer_syntax;
  DicomPixels layout;
};

// The voxels as an uncompressed file would hold them, layout.bytes() in all. Throws InputError that
// names `file`. Thread-safe, but calls wait for each other.
std::string decode_fragments(const EncodedSlice& slice, const std::string& file);

}  // namespace lamp
