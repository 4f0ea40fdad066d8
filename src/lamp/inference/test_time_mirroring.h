// Mirrored copies of the image are segmented too, mirrored back and averaged: along the axes that
// training mirrored, as only along these the network was taught to bear it.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lamp/base/json.h"

namespace lamp {

// What --tta asks for.
struct MirrorRequest {
  bool as_trained = false;  // the axes that training mirrored; `axes` is empty then
  std::vector<int> axes;    // or these of the network's grid: 0 = x, 1 = y, 2 = z

  bool wanted() const { return as_trained || !axes.empty(); }
};

// "x,y,z" or a part of it, each once; "trained" means the axes that training mirrored. Throws
// UsageError for anything else.
MirrorRequest parse_mirror_request(const std::string& text);

// The axes that training mirrored, by model file; none = the file does not say.
struct TrainedMirroring {
  std::string file;
  std::optional<std::vector<int>> axes;
};

// What is done.
struct Mirroring {
  std::vector<int> axes;                   // ascending
  std::vector<std::pair<int, int>> twins;  // classes to exchange, of the left and the right side
  std::vector<std::string> left_out;       // why others are not mirrored, in words

  Json to_json() const;  // {"axes": ["x"], "left_out": ["..."]}
};

// Only axes that every model was trained to bear; one that was asked for by name and is not among
// them is left out with a warning. Where a model does not say what it was trained on, what is asked
// for is done with a warning, unless labels have sides: then nobody knows whether the network calls
// the left organ of a mirrored image the left one, and UsageError is thrown. So it is for a label
// of one side without a twin, which has no right answer in a mirrored image.
Mirroring settle_mirroring(const MirrorRequest& request,
                           const std::vector<TrainedMirroring>& models,
                           const std::map<int, std::string>& labels);

// For every subset of the axes, the dimensions of [.., D, H, W] to flip, counted from the back; the
// first is empty. Two axes give four copies, three give eight.
std::vector<std::vector<std::int64_t>> mirror_flips(const std::vector<int>& axes);

// Scores [K, D, H, W] of an image that was flipped along `flip`, as they are for the image itself:
// flipped back, and where the number of axes is odd the classes of left and right change places
// (two are a half turn, after which the left organ still is the left one: augmentation.h).
torch::Tensor mirrored_back(const torch::Tensor& scores, const std::vector<std::int64_t>& flip,
                            const std::vector<std::pair<int, int>>& twins);

}  // namespace lamp
