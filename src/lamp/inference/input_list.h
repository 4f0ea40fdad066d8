// From what people put behind -i to a list of cases: files, folders of files, DICOM folders, and
// the channels of one case in files of their own.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "lamp/data/volume_io.h"

namespace lamp {

struct InputCase {
  std::string name;
  std::vector<std::filesystem::path> channels;  // one file (of any number of channels) or one each

  // The first file, and how many more there are: for messages and reports.
  std::string describe() const;
};

// A file is a case. A folder with volumes is one case for each volume in it, in alphabetical order,
// hidden files and "._" files left out; a folder with DICOM slices is one case. nnU-Net's names are
// understood: with a network of several channels <case>_0000.nii.gz, <case>_0001.nii.gz, ... are
// one case; with a network of one channel a trailing _0000 does not belong to the case's name.
// Throws InputError for a path that is not there and for a folder without volumes (saying what it
// holds), UsageError for two cases of one name.
std::vector<InputCase> expand_inputs(const std::vector<std::string>& inputs,
                                     std::int64_t in_channels);

// The case's image, its channels stacked in order. Throws InputError if the files' grids differ,
// UsageError if the number of channels is not the network's.
Volume read_case(const InputCase& input, std::int64_t in_channels, const ReadOptions& options);

}  // namespace lamp
