// From what people put behind -i to a list of cases: files, folders of files, DICOM folders, and
// the channels of one case in files of their own.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "lamp/dataset/channel_names.h"
#include "lamp/formats/left_out.h"
#include "lamp/formats/volume_io.h"

namespace lamp {

struct InputCase {
  std::string name;
  std::vector<ChannelFile> files;  // one of any number of channels, or one each, in order

  const std::filesystem::path& first() const { return files.front().file; }
  // The first file, and how many more there are: for messages and reports.
  std::string describe() const;
};

// A file is a case. A folder is one case for each volume that list_folder finds in it, in
// alphabetical order; a link in it is a case of its own, whatever it leads to. nnU-Net's names are
// understood: with a network of several channels <case>_0000.nii.gz, <case>_0001.nii.gz, ... are
// one case; with a network of one channel a trailing _0000 does not belong to the case's name,
// unless there is a _0001 too: then these are cases. Whatever else lies in the folders is told and
// appended to `left_out`. Throws InputError for a path that is not there, for a folder without
// volumes (saying what it holds) and for a DICOM series that is spread over folders, UsageError for
// two cases of one name.
std::vector<InputCase> expand_inputs(const std::vector<std::string>& inputs,
                                     std::int64_t in_channels,
                                     std::vector<LeftOut>* left_out = nullptr,
                                     const std::string& dicom_series = "");

// The case's image, its channels stacked in order. Throws InputError if the files' grids differ or
// a channel's number is missing, doubled or unknown, or their number is not the network's.
Volume read_case(const InputCase& input, std::int64_t in_channels, const ReadOptions& options);

}  // namespace lamp
