// From a NIfTI file's three ways to place its grid to the one that holds, and back.
#pragma once

#include <string>

#include "lamp/base/size3.h"
#include "lamp/formats/nifti.h"

namespace lamp {

// The grid that `space` describes, in LPS and mm, checked. Of two valid forms the sform counts if
// their codes differ; forms of the same code that disagree by more than 0.1 voxel are refused,
// since either could be the right one, and so is an sform whose voxels are more than 1 % larger or
// smaller than pixdim's (0.1 %: a warning). `options.nifti_form` decides such cases, with a
// warning; a file without the form asked for keeps the one it has. Without any code the axes are
// taken to lie along R, A, S from 0 on (nifti1.h, method 1), with a warning. Throws InputError.
Geometry nifti_geometry(const NiftiSpace& space, const Size3& size, const ReadOptions& options,
                        const std::string& file);

// sform and qform of `geometry`, both of code 1; only the sform where a qform could not say the
// same (a sheared grid, or a turn by nearly 180 degrees, which three float32 numbers cannot hold).
NiftiSpace nifti_space_of(const Geometry& geometry);

}  // namespace lamp
