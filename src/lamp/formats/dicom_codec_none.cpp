// The twin of dicom_codec.cpp for a build without ITK and its GDCM.
#include "lamp/base/errors.h"
#include "lamp/formats/dicom_codec.h"

namespace lamp {

DicomCodec::~DicomCodec() = default;

std::string DicomCodec::decode(const EncodedSlice&, const std::string& file) {
  throw InputError(
      {.file = file,
       .what = "unsupported format",
       .found = "this program was built without ITK and reads no compressed DICOM",
       .fix = "convert the series to explicit VR little endian, or build with LAMP_WITH_ITK=ON"});
}

}  // namespace lamp
