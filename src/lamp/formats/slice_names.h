// Which names a slice of a DICOM series may have: a file of such a name that is no DICOM was
// probably one before something happened to it.
#pragma once

#include <filesystem>
#include <set>
#include <string>

namespace lamp {

// In small letters, with its dot; empty without one, and for the parts of a UID ("1.2.840.3").
std::string slice_extension(const std::filesystem::path& file);

// "IM0012", "12.dcm", "1.2.840.3", or an extension that slices beside it have; also with what a
// packer, a download that was broken off or an editor puts behind (".gz", ".part", "~"). Not
// "README", ".DS_Store", "notes.txt".
bool may_be_slice(const std::filesystem::path& file, const std::set<std::string>& slice_extensions);

// ".dcm" and the other extensions that only DICOM files have?
bool has_dicom_extension(const std::filesystem::path& file);

}  // namespace lamp
