// Series with several images at one place: phases of the heart or of contrast, echoes,
// reconstructions. Not part of the library's interface.
#pragma once

#include <filesystem>
#include <vector>

#include "lamp/formats/dicom_slice.h"

namespace lamp {

// Slices closer than this lie at one place.
inline constexpr double kOnePlaceMm = 1e-4;

// All take slices sorted by position, and throw InputError for what they say.

// Two files that hold the same image.
void refuse_copies(const std::vector<DicomSlice>& slices);
// Equally many images at every place, and an element of the header that tells them apart.
void refuse_phases(const std::vector<DicomSlice>& slices, const std::filesystem::path& folder);
// Several images at most places, whatever tells them apart.
void refuse_several_per_place(const std::vector<DicomSlice>& slices,
                              const std::filesystem::path& folder);

}  // namespace lamp
