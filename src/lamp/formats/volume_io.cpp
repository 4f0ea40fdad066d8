// Chooses the format by the name, or DICOM for a folder.
#include "lamp/formats/volume_io.h"

#include <system_error>

#include "lamp/base/errors.h"
#include "lamp/formats/dicom_folder.h"
#include "lamp/formats/dicom_series.h"
#include "lamp/formats/file_start.h"
#include "lamp/formats/itk_io.h"
#include "lamp/formats/nifti.h"
#include "lamp/formats/raw_volume.h"
#include "lamp/formats/stored_volume.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

enum class Format { kNone, kNifti, kTextHeader, kDicom };

Format format_of(const fs::path& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) return Format::kDicom;
  const std::string extension = volume_extension(path);
  if (extension.empty()) return Format::kNone;
  return extension.starts_with(".nii") ? Format::kNifti : Format::kTextHeader;
}

// A pipe would be waited for, a device read for ever.
void check_is_file(const fs::path& path) {
  std::error_code error;
  if (!fs::exists(fs::symlink_status(path, error)))
    cannot_read(path.string(), {.found = "no such file", .fix = "check the path"});
  if (const std::string kind = special_kind(path); !kind.empty())
    cannot_read(path.string(), {.found = kind,
                                .expected = "a regular file or a folder of DICOM slices",
                                .fix = "check the path"});
}

struct Reader {
  RawVolume (*volume)(const fs::path&, const ReadOptions&);
  VolumeHeader (*header)(const fs::path&, const ReadOptions&);
};

Reader reader_of(const fs::path& path) {
  check_is_file(path);
  switch (format_of(path)) {
    case Format::kNifti:
      return {read_nifti, read_nifti_header};
    case Format::kTextHeader:
      return {read_stored_volume, read_stored_volume_header};
    case Format::kDicom:
      return {read_dicom, read_dicom_header};
    case Format::kNone:
      break;
  }
  throw InputError(unread_file(path, "cannot read"));
}

}  // namespace

Volume read_image(const fs::path& path, const ReadOptions& options) {
  return to_image(reader_of(path).volume(path, options), options, path.string());
}

Volume read_label(const fs::path& path, const ReadOptions& options) {
  return to_label(reader_of(path).volume(path, options), path.string());
}

VolumeHeader read_volume_header(const fs::path& path, const ReadOptions& options) {
  return reader_of(path).header(path, options);
}

Fault unread_file(const fs::path& path, const std::string& what) {
  Fault fault{.file = path.string(),
              .what = what,
              .found = "unknown format",
              .expected = kReadFormats,
              .fix = "convert it to one of them"};
  if (is_dicom_file(path)) {
    const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
    fault.found = "a single DICOM file";
    fault.fix = "name its folder, " + folder.string();
  } else if (const std::string format = unread_format(path); !format.empty()) {
    fault.found = format + ", which is not read";
  }
  return fault;
}

void write_volume(const fs::path& path, const Volume& volume, const std::string& writer) {
  const std::string extension = volume_extension(path);
  if (extension == ".nii" || extension == ".nii.gz") return write_nifti(path, volume, writer);
  if (extension == ".nrrd" || extension == ".mha") return write_itk(path, volume, writer);
  throw UsageError("cannot write: " + path.string() +
                   ": unknown format, expected .nii.gz, .nii, .nrrd or .mha");
}

bool is_volume_file(const fs::path& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) return is_dicom_folder(path);
  return has_volume_extension(path) && fs::is_regular_file(path, error);
}

}  // namespace lamp
