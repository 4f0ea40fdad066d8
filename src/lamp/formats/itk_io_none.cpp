// The twin of itk_io.cpp for a build without ITK.
#include "lamp/base/errors.h"
#include "lamp/formats/itk_io.h"

namespace lamp {
namespace {

[[noreturn]] void refuse(const std::filesystem::path& path) {
  throw InputError({.file = path.string(),
                    .what = "unsupported format",
                    .found = "this program was built without ITK: it neither reads DICOM nor "
                             "writes NRRD and MetaImage",
                    .fix = "use .nii.gz, or build with LAMP_WITH_ITK=ON"});
}

}  // namespace

void write_itk(const std::filesystem::path& path, const Volume&, const std::string&) {
  refuse(path);
}

}  // namespace lamp
