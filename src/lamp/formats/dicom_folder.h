// What every file of a folder of DICOM slices is: a slice of the series that is read, something
// else that is left out by name, or a file that may have been a slice. None is passed over.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "lamp/base/fault.h"
#include "lamp/formats/dicom_slice.h"
#include "lamp/formats/left_out.h"

namespace lamp {

struct DicomFolder {
  std::vector<DicomSlice> slices;  // of the one image series, by file name
  std::vector<LeftOut> left_out;   // objects of other kinds, other series' images, texts, folders
  // What may be a part of the series: damaged, empty, packed or unreadable files, slices in folders
  // below. As long as there are any, the series may be incomplete.
  std::vector<Fault> doubtful;
  std::optional<Fault> fault;  // why there is no one series to read; none if there is one

  bool no_image = false;  // only objects and files of other kinds lie here

  // Nothing could be a slice.
  bool holds_no_image() const { return no_image && doubtful.empty(); }
};

// `series` chooses among several: a SeriesInstanceUID, its place in the list that `fault` shows, or
// its SeriesNumber. Throws InputError if the folder cannot be read, `series` is not in it, or is
// the place of one series and the SeriesNumber of another.
DicomFolder read_dicom_folder(const std::filesystem::path& folder, const std::string& series = "");

// Throws the InputError that `content` calls for, if any.
void refuse_faults(const DicomFolder& content);

// A regular file with the start of a DICOM file? False for what cannot be opened.
bool is_dicom_file(const std::filesystem::path& path);
// Does the folder itself hold DICOM files, or files that are named so?
bool is_dicom_folder(const std::filesystem::path& path);

}  // namespace lamp
