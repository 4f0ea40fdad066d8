// The paper's data sets in the layouts in which they are handed out, brought to the one that every
// other command reads (docs/formats.md, "Real data sets").
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lamp/dataset/datalist.h"

namespace lamp {

struct PrepareOptions {
  // "han-npy": AnatomyNet's preprocessed arrays; "pddca": the raw release; "decathlon": a folder
  // such as Task03_Liver.
  std::string from;
  std::filesystem::path source;
  std::filesystem::path folder;  // to write: new, empty, or begun by the same command
  // x, y, z of han-npy, whose arrays do not say; none = 1 mm, with a warning.
  std::optional<std::array<double, 3>> spacing_mm;
  // The test cases: that many, drawn by `seed` among the fully annotated ones; or those named. With
  // neither, the cases of a folder "test" or the challenge's ten off-site cases if they are there,
  // else the paper's share, drawn.
  std::optional<int> test;
  std::vector<std::string> test_cases;
  std::uint64_t seed = 0;
  std::optional<NiftiForm> nifti_form;  // of contradictory files; none = they are refused
};

// Voxels that two structures claim; the one with fewer voxels in all keeps them.
struct Overlap {
  int kept = 0, lost = 0;  // label ids
  std::int64_t voxels = 0;
  bool operator==(const Overlap&) const = default;
};

struct PreparedCase {
  std::string name;
  bool training = true;
  std::vector<int> annotated;  // label ids, ascending
  std::vector<Overlap> overlaps;
  std::vector<std::string> notes;  // what else is worth knowing
  bool scaled = false;             // do the image's values lie between 0 and 1?
};

struct PrepareReport {
  std::filesystem::path folder;
  std::string from;
  std::map<int, std::string> labels;
  std::vector<PreparedCase> cases;  // written, by name
  std::vector<Fault> faults;        // of the others
  std::size_t source_cases = 0;
  std::size_t converted = 0;  // by this call; the others were there already
};

// Writes imagesTr labelsTr imagesTs labelsTs dataset.json. A case with a fault is left out and
// reported; the others are written, and dataset.json lists those. Finished cases are remembered
// with the size and time of their sources, so a second call converts only what is missing or has
// changed, and an interrupted one goes on. Throws Interrupted between two cases, InputError if SRC
// is not of that layout, UsageError for options out of range or a folder that holds something else,
// Error if the disk refuses.
PrepareReport prepare_dataset(const PrepareOptions& options);

}  // namespace lamp
