// Generated CT data sets with known truth: they stand in for patient data, which may not be handed
// on, in the demo, the tests and the experiments.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "lamp/base/size3.h"
#include "lamp/volume/volume.h"

namespace lamp {

// Who a phantom's image and label say they are by (volume_mark.h).
inline constexpr const char* kPhantomWriter = "lamp synth";

// The note of what is being written, in the folder until its dataset.json says so.
inline constexpr const char* kUnfinishedPhantoms = ".phantoms.json";

// A volume that write_phantoms() wrote and nobody changed since, its dataset.json or its note.
bool is_phantom_file(const std::filesystem::path& file);

struct PhantomOptions {
  // "han": head and neck, the paper's nine organs with their true relative volumes, left and right
  // alike. "liver": abdomen with a liver and 0 to 5 tumours. "twins": two identical structures in a
  // plain block; only a far landmark tells their sides (see phantom_twins.cpp).
  std::string kind = "han";
  std::filesystem::path folder;
  int train = 16;
  int test = 4;
  Size3 size = {0, 0, 0};  // x, y, z voxels; each case is 0 to 8 smaller. 0 = the kind's default
  double missing = 0;      // probability that an organ of a training case is not annotated
  // "han" only: chiasm and optic nerves are drawn this many times as thick as in people, 1 to 3, so
  // that a short training on a coarse grid can find them.
  double thin_organs = 1;
  std::uint64_t seed = 0;
};

// Label ids and names of a kind, background included. UsageError for an unknown kind.
std::map<int, std::string> phantom_labels(const std::string& kind);
// "96,96,64". UsageError for anything but three whole numbers.
Size3 parse_phantom_size(const std::string& text);

struct PhantomCase {
  Volume image;                // int16 HU, [1, D, H, W]
  Volume label;                // uint8, the same grid; holds annotated labels only
  std::vector<int> annotated;  // ascending; all of them unless `missing` took some
};

// The case `index` (from 0) of the training or test split. A function of its arguments alone: not
// of the number of threads, of the other cases or of `folder`.
PhantomCase draw_phantom(const PhantomOptions& options, bool training, int index);

// Writes imagesTr labelsTr imagesTs labelsTs dataset.json (Decathlon). Same options, same bytes.
// The folder may hold what the very same options wrote before, which is written again; anything
// else there is refused, phantoms of another seed too, and so is one that was changed since.
// UsageError for options out of range, Error if the disk refuses.
void write_phantoms(const PhantomOptions& options);

}  // namespace lamp
