// A data set that the program itself writes, in the layout of the Medical Segmentation Decathlon:
// where its files go, what its dataset.json says, and what may lie in its folder beforehand.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lamp/base/json.h"

namespace lamp {

struct DecathlonEntry {
  bool training = true;  // imagesTr and labelsTr, else imagesTs and labelsTs
  std::string image_file;
  std::string label_file;                     // most often named like the image
  std::optional<std::vector<int>> annotated;  // label ids that were looked for; none = all

  std::string image() const;  // relative to the data set's folder
  std::string label() const;
};

struct DecathlonInfo {
  std::string name;
  std::string description;  // also tells whose data set it is
  std::vector<std::string> modality = {"CT"};
  std::map<int, std::string> labels;  // background included
};

// A test case stands there by its image alone, as in the Decathlon, and its label lies beside it in
// labelsTs; one that is partly annotated, or whose label has another name, stands there in full.
Json decathlon_json(const DecathlonInfo& info, const std::vector<DecathlonEntry>& entries);

// The four folders of images and labels. Throws Error if the disk refuses.
void make_decathlon_folders(const std::filesystem::path& folder);

// Removes what a call that was killed left unfinished there.
void remove_decathlon_leftovers(const std::filesystem::path& folder);

// Where `file` ("imagesTr/a.nii.gz") of the data set goes. Throws UsageError if a link on the way
// leads out of `folder`: whatever is written or removed goes through here.
std::filesystem::path output_file(const std::filesystem::path& folder, const std::string& file);

// Throws UsageError if a file is where the folder is to be.
void refuse_file_as_folder(const std::filesystem::path& folder, const std::string& option);

// Overwriting is fine for what the very same command wrote before, never for anything else: throws
// UsageError, naming the first file, unless `folder` is missing, empty, or holds nothing but files
// of `entries` and a dataset.json with this description. Hidden files are not looked at, and links
// are never ours.
struct OwnContent {
  std::string option;    // "synth -o", the start of the message
  std::string expected;  // "the same phantoms"
  std::string description;
  std::vector<DecathlonEntry> entries;
};
void refuse_other_content(const std::filesystem::path& folder, const OwnContent& own);

}  // namespace lamp
