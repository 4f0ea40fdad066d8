// Chooses the format by the name, or DICOM for a folder.
#include "lamp/data/volume_io.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <system_error>

#include "lamp/base/errors.h"
#include "lamp/data/dicom_series.h"
#include "lamp/data/dicom_slice.h"
#include "lamp/data/itk_io.h"
#include "lamp/data/nifti.h"
#include "lamp/data/raw_volume.h"
#include "lamp/data/stored_volume.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

enum class Format { kNone, kNifti, kTextHeader, kDicom };

constexpr std::array<const char*, 6> kExtensions = {".nii.gz", ".nii", ".nrrd",
                                                    ".nhdr",   ".mha", ".mhd"};

std::string extension_of(const fs::path& path) {
  std::string name = path.filename().string();
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  for (const char* extension : kExtensions)
    if (name.ends_with(extension)) return extension;
  return "";
}

Format format_of(const fs::path& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) return Format::kDicom;
  const std::string extension = extension_of(path);
  if (extension.empty()) return Format::kNone;
  return extension.starts_with(".nii") ? Format::kNifti : Format::kTextHeader;
}

RawVolume read_raw(const fs::path& path, const ReadOptions& options) {
  std::error_code error;
  if (!fs::exists(path, error))
    throw InputError("cannot read", path.string(), "no such file; check the path");
  switch (format_of(path)) {
    case Format::kNifti:
      return read_nifti(path, options);
    case Format::kTextHeader:
      return read_stored_volume(path, options);
    case Format::kDicom:
      return read_dicom(path, options);
    case Format::kNone:
      break;
  }
  throw InputError("cannot read", path.string(),
                   "unknown format, expected .nii, .nii.gz, .nrrd, .nhdr, .mha, .mhd or a folder "
                   "of DICOM slices");
}

}  // namespace

Volume read_image(const fs::path& path, const ReadOptions& options) {
  return to_image(read_raw(path, options), options, path.string());
}

Volume read_label(const fs::path& path, const ReadOptions& options) {
  return to_label(read_raw(path, options), path.string());
}

VolumeHeader read_volume_header(const fs::path& path, const ReadOptions& options) {
  switch (format_of(path)) {
    case Format::kNifti:
      return read_nifti_header(path, options);
    case Format::kTextHeader:
      return read_stored_volume_header(path, options);
    case Format::kDicom:
      return read_dicom_header(path, options);
    case Format::kNone:
      break;
  }
  const RawVolume raw = read_raw(path, options);  // throws the right refusal
  return {raw.geometry, raw.channels};
}

void write_volume(const fs::path& path, const Volume& volume) {
  const std::string extension = extension_of(path);
  if (extension == ".nii" || extension == ".nii.gz") return write_nifti(path, volume);
  if (extension == ".nrrd" || extension == ".mha") return write_itk(path, volume);
  throw UsageError("cannot write: " + path.string() +
                   ": unknown format, expected .nii.gz, .nii, .nrrd or .mha");
}

bool is_volume_file(const fs::path& path) {
  std::error_code error;
  if (!fs::is_directory(path, error))
    return !extension_of(path).empty() && fs::is_regular_file(path, error);
  for (const auto& entry : fs::directory_iterator(path, error)) {
    if (entry.is_regular_file(error) && extension_of(entry.path()).empty() &&
        is_dicom_file(entry.path()))
      return true;
  }
  return false;
}

std::string case_name(const fs::path& path) {
  const fs::path named = path.filename().empty() ? path.parent_path() : path;  // "folder/"
  const std::string name = named.filename().string();
  return name.substr(0, name.size() - extension_of(named).size());
}

}  // namespace lamp
