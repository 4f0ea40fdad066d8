// Which prediction belongs to which reference: files of two folders, paired by their case names.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace lamp {

struct CasePair {
  std::string name;
  std::filesystem::path prediction;  // empty = there is none
  std::filesystem::path reference;
};

// Two folders, or two files that make one pair whatever their names. One pair for each reference,
// by name; names that differ only in how Unicode writes their accents are one. What else lies in
// the folders is told: predictions without a reference, "*_prob" files that hold probabilities
// (several channels; only among predictions), images of formats that are not read. Throws
// InputError if a path is missing, a folder holds no label map or one name twice, and UsageError
// for a file beside a folder.
std::vector<CasePair> pair_cases(const std::filesystem::path& prediction,
                                 const std::filesystem::path& reference);

}  // namespace lamp
