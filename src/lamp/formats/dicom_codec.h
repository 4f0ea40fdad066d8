// Compressed voxels through GDCM's codecs, in a process of their own: on damaged streams these
// codecs abort, and only that process must die. GDCM never sees a user's file but one that is
// composed here from values that have been checked.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "lamp/formats/dicom_pixels.h"

namespace lamp {

struct EncodedSlice {
  std::string_view fragments;  // with their items, up to the delimiter
  std::string transfer_syntax;
  DicomPixels layout;
};

// Started with the first slice, and again after one at which it died. Not thread-safe; each thread
// may have one of its own.
class DicomCodec {
 public:
  DicomCodec() = default;
  ~DicomCodec();
  DicomCodec(const DicomCodec&) = delete;
  DicomCodec& operator=(const DicomCodec&) = delete;

  // The voxels as an uncompressed file would hold them, layout.bytes() in all. Throws InputError
  // that names `file`.
  std::string decode(const EncodedSlice& slice, const std::string& file);

 private:
  void start();
  void stop();

  pid_t process_ = -1;
  int socket_ = -1;
};

}  // namespace lamp
