// Which of a folder's DICOM objects are the image that was meant. Not part of the library's
// interface.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "lamp/formats/dicom_folder.h"

namespace lamp {

struct SeriesChoice {
  std::vector<DicomSlice> slices;  // all DICOM objects of a folder
  std::filesystem::path folder;
  std::string series;  // as in read_dicom_folder
};

// Puts every slice into `content`: the one series that makes a volume becomes its slices;
// radiotherapy objects, localizers, and images of other series that make no volume are left out;
// faulty images of the series itself are doubtful. Several series that could be meant are a fault
// that lists them.
void choose_series(SeriesChoice choice, DicomFolder& content);

}  // namespace lamp
