// One DICOM file: what kind of object it is, which series it belongs to, and where it lies if it is
// a slice.
#pragma once

#include <array>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lamp/base/fault.h"
#include "lamp/volume/volume.h"

namespace lamp {

struct DicomSlice {
  std::filesystem::path file;
  std::string series_uid, instance_uid;
  std::string series_number;                // SeriesNumber as a plain number; "" if none
  std::string series_text;                  // for people: number, description, modality
  std::string patient, frame_of_reference;  // PatientID, FrameOfReferenceUID

  // What the object is if it cannot be a slice of a volume, such as "an RTDOSE object"; empty else.
  std::string other_kind;
  std::optional<Fault> fault;  // why its image cannot be read; none if it can
  bool localizer = false;      // a scout or overview, by its ImageType
  bool multi_frame = false;    // a volume in one file, which is not read (then `fault` says so)

  // Set where there is no fault:
  Geometry plane;          // one voxel thick; its third axis is the normal of the first two
  double position_mm = 0;  // along that normal
  // To how many decimals the coordinates of its position are written, zeros at the end not counted.
  std::array<int, 3> decimals = {0, 0, 0};
  std::optional<int> instance_number;
  double spacing_mm = 0;    // SpacingBetweenSlices; 0 = not said
  double thickness_mm = 0;  // SliceThickness; 0 = not said
  bool rescaled = false;    // RescaleSlope or RescaleIntercept is there
  // What may tell images of one place apart (phases, echoes, kernels): names and values, the same
  // names in every slice.
  std::vector<std::pair<std::string, std::string>> phase;
};

// Throws InputError for a file that is no DICOM, or cut short or damaged so that nothing it says
// can be trusted; any other fault is in the result. The voxels are not read.
DicomSlice read_dicom_slice(const std::filesystem::path& path);

}  // namespace lamp
