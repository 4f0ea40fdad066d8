// nnU-Net's names for the channels of one case: <case>_0000, <case>_0001, ... One rule for data
// sets and for what is segmented.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

namespace lamp {

struct ChannelName {
  std::string stem;  // "liver" of "liver_0001"; the whole name if it holds no number
  int number = -1;   // 1; -1 = none
};

// Takes a name without its format apart. A number has four digits and a stem before it.
ChannelName split_channel(const std::string& name);

// "liver_0001" of "liver" and 1.
std::string channel_name(const std::string& stem, int number);

// A file and the number in its name; -1 = none.
struct ChannelFile {
  int number = -1;
  std::filesystem::path file;
};

// The files of one case.
struct ChannelGroup {
  std::string stem;                // the case's name
  std::vector<ChannelFile> files;  // in order of their numbers
};

// Files of one folder and one stem that number their channels are one case; a file without a number
// is one by itself. `ending`: what follows the number in the files' names; empty = the ending of
// each one's format. In the order of first files.
std::vector<ChannelGroup> group_channels(const std::vector<std::filesystem::path>& files,
                                         const std::string& ending = "");

// What is wrong with the numbers of one case whose image has `expected` channels, such as "channel
// 1 is missing (there is 0 and 2)"; empty if they are 0 to expected - 1, each once.
std::string channel_fault(const std::vector<ChannelFile>& files, std::size_t expected);

}  // namespace lamp
