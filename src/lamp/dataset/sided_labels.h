// Which labels are the left and the right one of a pair, by their names: a mirror turns one into
// the other.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace lamp {

// The name of the other side, or empty if the name has no side: "Parotid_L" <-> "Parotid_R",
// "lung_upper_lobe_left", "rib_left_3", "Left Kidney", "ParotidLeft", "Kidney (L)", "ctx-lh". A
// side is the word left or right (any case; also links, rechts and other languages' words) between
// separators (_ - . , ; : / brackets, space) or as a part of a CamelCase name, LH or RH between
// separators, or one of the abbreviations L, R, LT, RT, SIN and DEX as the first or last such word.
std::string mirrored_name(const std::string& name);

// The ids of labels whose names mirror each other, each pair once; also those that differ by a last
// capital L and R alone ("kidneyL", "kidneyR").
std::vector<std::pair<int, int>> sided_pairs(const std::map<int, std::string>& labels);

// Labels with a side whose twin is missing.
std::map<int, std::string> labels_without_twin(const std::map<int, std::string>& labels);

}  // namespace lamp
