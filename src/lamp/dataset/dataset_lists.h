// What is wrong with the lists of a data set as such: one file in two places, one image in training
// and in test, a wrong count. Needs no voxel, so that training can ask before it begins.
#pragma once

#include <cstddef>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "lamp/dataset/datalist.h"
#include "lamp/formats/left_out.h"

namespace lamp {

struct PlacedCase {
  const Case* entry;
  const char* split;  // "training", "validation" or "test"
};

// Every case, training first. They point into `dataset`.
std::vector<PlacedCase> placed_cases(const Dataset& dataset);

struct ListFindings {
  std::vector<Fault> faults;
  std::vector<std::string> notes;
  std::set<std::pair<std::size_t, std::size_t>> twins;  // reported pairs, by place
};

// Finds: other numbers of cases than numTraining and numTest say; a file that is the image of one
// case and the label of the same or another; one label of two cases; one image in training and in
// another split, or in two folds (a leak). Notes: one image of two cases elsewhere, names that
// differ in capitals only.
// Files are told apart by the disk, so that links and different spellings of a path count as one.
// Without `with_tests` numTest is not looked at; a leak into the tests is found all the same.
ListFindings check_lists(const Dataset& dataset, bool with_tests = true);

// Throws the first fault of check_lists that concerns training, which goes on with sound lists
// only.
void refuse_faulty_lists(const Dataset& dataset);

// The volumes in imagesTr, labelsTr, imagesTs and labelsTs that the lists do not name, in this
// order.
std::vector<LeftOut> files_of_no_case(const Dataset& dataset);

// By which images are compared: equal keys mean the same image, empty ones that it is unknown.
struct ImageKeys {
  std::string same;                 // what twins have in common: "the same voxels"
  std::vector<std::string> images;  // of each case
  std::vector<std::string> labels;  // of each case, if labels count: where two of one image differ,
                                    // it was drawn twice, and no copy that slipped in
};

// A fault if it is a leak, else a note, unless `findings` has the pair.
void report_twins(const std::vector<PlacedCase>& cases, const ImageKeys& keys,
                  ListFindings& findings);

}  // namespace lamp
