// Which files a segmentation writes: their names follow from -o, --format and the cases, and are
// settled and checked before the first case is read.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "lamp/base/own_output.h"
#include "lamp/inference/input_list.h"
#include "lamp/inference/segment_options.h"

namespace lamp {

// Who a label map, a probability map and segment.json say they are by.
inline constexpr const char* kSegmentWriter = "lamp segment";

struct SegmentOutputs {
  std::vector<std::filesystem::path> labels;         // one for each case
  std::vector<std::filesystem::path> probabilities;  // likewise, also where they are not saved
  std::vector<std::filesystem::path> previews;       // likewise
  std::filesystem::path report;                      // segment.json; empty for a single file
  OutputList files;                                  // all of these, not yet checked
  // What nobody else may write to meanwhile (base/output_lock.h): the folder, or in the folder of a
  // single label map the files of its name.
  std::filesystem::path folder;
  std::string lock;
};

// `output` is a folder, or with a single case the label map itself, if its name ends in a format
// that can be written. Throws UsageError for a name that ends in another format, for one file and
// several cases, for a --format that contradicts the name, and for cases whose files would have one
// name.
SegmentOutputs plan_outputs(const std::filesystem::path& output, const SegmentOptions& options,
                            const std::vector<InputCase>& cases);

// Removes probabilities that an earlier call left beside a label map which is new now, or gone: the
// two would not agree. A label map of a case that happens to have this name stays. Returns whether
// there were any.
bool remove_older_probabilities(const std::filesystem::path& file);

// Throws UsageError if the label maps would go into a folder of images that is an input: the next
// call would take them for images.
void refuse_folder_of_inputs(const std::filesystem::path& output,
                             const std::vector<std::string>& inputs);

// "nii.gz" of "NII.GZ" or ".nii.gz". Throws UsageError for a format that cannot be written.
std::string parse_format(const std::string& text);

}  // namespace lamp
