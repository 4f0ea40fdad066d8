// What a file's name says of its format.
#pragma once

#include <filesystem>
#include <string>

namespace lamp {

// The formats that are read, in words for messages.
inline constexpr const char* kReadFormats =
    ".nii, .nii.gz, .nrrd, .nhdr, .mha, .mhd or a folder of DICOM slices";

// ".nii.gz" of "Liver.NII.GZ", in small letters; empty if it is none of the formats that are read.
std::string volume_extension(const std::filesystem::path& path);
bool has_volume_extension(const std::filesystem::path& path);

// "FreeSurfer volumes (.mgz)": what the name says the file is, if that is an image of a kind that
// is not read; else empty.
std::string unread_format(const std::filesystem::path& path);

// "liver_1" of ".../liver_1.nii.gz"; a DICOM folder's own name.
std::string case_name(const std::filesystem::path& path);

}  // namespace lamp
