// What is in this folder: one rule for every command that is given one.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "lamp/base/fault.h"
#include "lamp/formats/left_out.h"

namespace lamp {

struct FolderContent {
  std::vector<std::filesystem::path> volumes;  // sorted
  std::vector<LeftOut> left_out;               // every other entry, sorted
  // Volumes that must not be taken as they are: a DICOM series whose slices are spread over
  // folders.
  std::vector<Fault> torn;
};

// The volumes of a folder: files of a format that is read, the folder itself if it holds DICOM
// slices, and each folder in it that does. Deeper folders are not searched, but named. Hidden files
// are left out, and so is everything else, with its reason; only the data files of .nhdr and .mhd
// headers are neither. Links to folders above are not followed. `series` is read_dicom_folder's.
// Throws InputError if the folder cannot be read.
FolderContent list_folder(const std::filesystem::path& folder, const std::string& series = "");

// The nearest folder below that holds volumes itself, by name the first; empty if none is found.
// Few levels and not too many folders are searched; links are not followed.
std::filesystem::path folder_of_volumes_below(const std::filesystem::path& folder);
// What to say of a folder whose content has no volumes: what lies there instead, and where some
// are.
Fault no_volume_fault(const FolderContent& content, const std::filesystem::path& folder);

// Where an entry of a folder lies: the same for all ways to name it. A link is an entry of its own,
// whatever it leads to; links among the folders above are followed.
std::filesystem::path entry_place(const std::filesystem::path& path);

}  // namespace lamp
