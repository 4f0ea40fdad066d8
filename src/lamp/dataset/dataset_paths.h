// Where the files lie that a data set names. A list of cases comes from a stranger as often as not:
// what it names outside its own folder is read only if the user allows it. Links inside the folder
// are followed, for they are the work of whoever put the data set there.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "lamp/dataset/datalist.h"

namespace lamp {

// Whether data sets may name files outside their folder ("../x.nii.gz", "/data/x.nii.gz"): off at
// the start, on with --allow-outside. For the whole process; thread-safe.
void allow_outside_files(bool allowed);
// The same for one list that this program wrote itself, such as that of hide_annotations.
void trust_dataset(const std::filesystem::path& json);

// Brings the paths of one list to files. Looks at each file once at most.
class DatasetPaths {
 public:
  explicit DatasetPaths(const std::filesystem::path& json);

  // The file that `text` names from `base`, which is the list's folder or its "base_dir"; nothing,
  // and the reason in `why` (but for its file), if it may not be read. A path with backslashes, as
  // Windows writes it, is read with slashes. Whether the file is there shows when it is read.
  std::optional<std::filesystem::path> resolve(const std::filesystem::path& base,
                                               const std::string& text, Fault& why);

  // `file`, or where only that is there, the file whose name has the same letters in another form
  // of Unicode.
  std::filesystem::path on_disk(const std::filesystem::path& file);

  // What was taken differently from how it was written.
  std::vector<std::string> notes() const;

 private:
  using Names = std::unordered_map<std::string, std::string>;  // decomposed: as on the disk

  bool is_inside(const std::filesystem::path& file) const;
  const Names& names_in(const std::filesystem::path& folder);

  const std::filesystem::path root_;      // as given
  const std::filesystem::path absolute_;  // without links followed
  const bool may_leave_;
  std::map<std::filesystem::path, Names> names_;
  std::size_t backslashes_ = 0, other_forms_ = 0;
  std::string first_other_form_;
};

}  // namespace lamp
