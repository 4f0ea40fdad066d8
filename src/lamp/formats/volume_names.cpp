// Tables of extensions; the longer one counts.
#include "lamp/formats/volume_names.h"

#include <array>
#include <utility>

#include "lamp/base/text.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

constexpr std::array<const char*, 6> kRead = {".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd"};

constexpr std::array<std::pair<const char*, const char*>, 40> kUnread = {{
    {".nii.bz2", "a packed NIfTI file"},
    {".nii.xz", "a packed NIfTI file"},
    {".nii.zst", "a packed NIfTI file"},
    {".nii.zip", "a packed NIfTI file"},
    {".nii.z", "a packed NIfTI file"},
    {".nrrd.gz", "a packed NRRD file"},
    {".mha.gz", "a packed MetaImage file"},
    {".mgz", "a FreeSurfer volume"},
    {".mgh", "a FreeSurfer volume"},
    {".mgh.gz", "a FreeSurfer volume"},
    {".hdr", "an Analyze or NIfTI pair"},
    {".hdr.gz", "an Analyze or NIfTI pair"},
    {".img", "an Analyze or NIfTI pair"},
    {".img.gz", "an Analyze or NIfTI pair"},
    {".nia", "a NIfTI text file"},
    {".mnc", "a MINC volume"},
    {".mnc.gz", "a MINC volume"},
    {".mnc2", "a MINC volume"},
    {".mif", "an MRtrix volume"},
    {".mif.gz", "an MRtrix volume"},
    {".mih", "an MRtrix volume"},
    {".brik", "an AFNI volume"},
    {".brik.gz", "an AFNI volume"},
    {".head", "an AFNI volume"},
    {".gipl", "a GIPL volume"},
    {".gipl.gz", "a GIPL volume"},
    {".vtk", "a VTK file"},
    {".vti", "a VTK file"},
    {".par", "a Philips PAR/REC pair"},
    {".rec", "a Philips PAR/REC pair"},
    {".v", "an ECAT volume"},
    {".pic", "a Bio-Rad volume"},
    {".npy", "a NumPy array without a place in space"},
    {".npz", "NumPy arrays without a place in space"},
    {".h5", "an HDF5 file"},
    {".hdf5", "an HDF5 file"},
    {".mat", "a Matlab file"},
    {".tif", "a TIFF picture"},
    {".tiff", "a TIFF picture"},
    {".dcm", "a single DICOM file"},
}};

std::string lower_name(const fs::path& path) { return lower(path.filename().string()); }

}  // namespace

std::string volume_extension(const fs::path& path) {
  const std::string name = lower_name(path);
  for (const char* extension : kRead)
    if (name.ends_with(extension)) return extension;
  return "";
}

bool has_volume_extension(const fs::path& path) { return !volume_extension(path).empty(); }

std::string unread_format(const fs::path& path) {
  const std::string name = lower_name(path);
  for (const auto& [extension, what] : kUnread)
    if (name.ends_with(extension)) return what;
  return "";
}

std::string case_name(const fs::path& path) {
  const fs::path named = path.filename().empty() ? path.parent_path() : path;  // "folder/"
  const std::string name = named.filename().string();
  return name.substr(0, name.size() - volume_extension(named).size());
}

}  // namespace lamp
