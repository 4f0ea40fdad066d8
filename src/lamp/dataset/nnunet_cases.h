// What nnU-Net leaves to file names. Not part of the library's interface.
#pragma once

#include <filesystem>
#include <vector>

#include "lamp/dataset/datalist_parser.h"

namespace lamp {

// nnU-Net v2: the cases of "dataset", or of the file names in imagesTr and imagesTs.
void find_nnunet_cases(const ListReader& list);

// nnU-Net's first version lists x.nii.gz where x_0000.nii.gz, x_0001.nii.gz and so on lie, one a
// channel: those files, or none if `listed` itself is there or they are not.
std::vector<std::filesystem::path> version_1_channels(const std::filesystem::path& listed);

}  // namespace lamp
