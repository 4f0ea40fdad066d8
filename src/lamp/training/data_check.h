// Every fault of a data set before the first step of a training: found one by one, each would cost
// a run that had already begun.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "lamp/cases/preprocess.h"
#include "lamp/dataset/datalist.h"

namespace lamp {

struct DataCheck {
  std::filesystem::path dataset;  // folder or JSON
  DataConfig data;                // how it will be read
  // A data set of this content (content_digest) is read in full once: what was found sound is
  // remembered in `stamps`, the folder of the cache. Empty or none = always read.
  std::string content;
  std::optional<std::filesystem::path> stamps;
};

// Reads the training and validation cases as `lamp check` does. Throws InputError for the first
// fault, after a warning for each of the others; also where cases differ in their number of
// channels.
void check_training_data(const DataCheck& check);

}  // namespace lamp
