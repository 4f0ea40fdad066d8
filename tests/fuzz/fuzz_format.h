// What a format brings to the fuzzer: sound files to start from, its words, and the readers that a
// stranger's file would reach.
#pragma once

#include <filesystem>
#include <functional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "lamp/base/random.h"

namespace lamp::fuzz {

// One input: the files of a folder, most often a single one.
struct FuzzFile {
  std::string name;  // within the folder
  std::string bytes;
};
using FuzzFiles = std::vector<FuzzFile>;

// Two readers, or a reader and a writer, that disagree about a file which both take.
struct Contradiction : std::logic_error {
  using std::logic_error::logic_error;
};

struct FuzzFormat {
  std::string name;
  std::vector<std::string> words;  // that the format's parser knows
  // Made once for each worker. `folder` is where inputs will lie; other files may be put there.
  std::function<std::vector<FuzzFiles>(const std::filesystem::path& folder)> seeds;
  // May return, or throw one of lamp's errors. Whatever else happens is a finding.
  using Reader = std::function<void(const std::filesystem::path& folder)>;
  std::vector<std::pair<std::string, Reader>> readers;
  // Brings lengths and checksums right again, most of the time, so that damage gets behind them.
  std::function<void(FuzzFiles& files, Random& random)> finish = {};
};

// What JSON's parser knows, and `more`.
std::vector<std::string> json_words(std::vector<std::string> more);

std::vector<FuzzFormat> volume_formats();    // images in single files
std::vector<FuzzFormat> dicom_formats();     // slices, folders
std::vector<FuzzFormat> list_formats();      // JSON, data sets
std::vector<FuzzFormat> training_formats();  // configurations, models, states

}  // namespace lamp::fuzz
