// A data set in a layout that `lamp prepare` converts: its cases, and how to read one. Not part of
// the library's interface; each layout has its files, prepare_han and prepare_decathlon.
#pragma once

#include <array>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "lamp/convert/prepare.h"

namespace lamp {

struct SourceCase {
  std::string name;
  std::filesystem::path image;
  std::filesystem::path label;                      // Decathlon: every structure in one map
  std::map<int, std::filesystem::path> structures;  // HaN: a mask for each label id, if it is there
  std::vector<int> annotated;                       // as file names or dataset.json say
  bool in_test_folder = false;
  std::string image_file, label_file;  // names in the new data set
};

// A case read and found sound, but not yet written.
struct ReadCase {
  PreparedCase facts;
  std::function<void(const std::filesystem::path& image, const std::filesystem::path& label)> write;
};

struct SourceSet {
  std::string name;
  std::vector<std::string> modality = {"CT"};
  std::map<int, std::string> labels;                // background included
  std::vector<SourceCase> cases;                    // by name
  std::vector<Fault> faults;                        // entries that could not be taken up as a case
  std::vector<std::string> usual_test;              // these are the test cases, if they are there
  std::array<double, 2> test_share = {0, 1};        // else so many of so many
  bool read_before_drawing = false;                 // a listed structure may turn out to be empty
  std::function<ReadCase(const SourceCase&)> read;  // throws InputError
};

}  // namespace lamp
