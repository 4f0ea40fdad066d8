// Folders that are a run's or a data set's own: results of another command among their files would
// be taken for theirs by the next one.
#pragma once

#include <array>
#include <cstddef>
#include <filesystem>
#include <string>

#include "lamp/base/json.h"

namespace lamp {

// Where the images and labels of a data set lie, beside its dataset.json.
inline constexpr std::array kCaseFolders = {"imagesTr", "labelsTr",  "imagesTs",
                                            "labelsTs", "imagesVal", "labelsVal"};

// Null if the file is not there, is no regular file, is larger, or no JSON.
Json json_in(const std::filesystem::path& file, std::size_t limit_bytes);

// The mark of a run's folder: {"format": kRunFormat, ...}.
inline constexpr const char* kRunMarkFile = "run.json";
inline constexpr const char* kRunFormat = "lamp-run";
// Null if the folder has none of ours.
Json run_mark(const std::filesystem::path& folder);

// Beside a dataset.json a single file, such as a summary, is in nobody's way; a folder of results
// is.
enum class ResultsAre { kFolder, kSingleFile };

// Throws UsageError, which begins with `option`, if `folder` is a run or lies in its state/, or if
// it is a data set (of a folder of results) or lies in one of its kCaseFolders. Another folder
// inside of them is in nobody's way. It need not exist.
void refuse_taken_place(const std::filesystem::path& folder, const std::string& option,
                        ResultsAre results = ResultsAre::kFolder);

}  // namespace lamp
