// One case's files, each looked at once.
#include "lamp/dataset/case_check.h"

#include <sys/stat.h>
#include <torch/types.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <iterator>
#include <limits>
#include <set>

#include "lamp/base/files.h"
#include "lamp/base/text.h"
#include "lamp/dataset/case_volumes.h"
#include "lamp/dataset/voxel_fingerprint.h"
#include "lamp/formats/dicom_folder.h"
#include "lamp/formats/raw_volume.h"
#include "lamp/volume/grid_difference.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

// More values than this beside the declared ones are no slip of a pen: it is an image, or a label
// map of more structures than are listed.
constexpr std::size_t kManyValues = 32;
constexpr std::size_t kMostTold = 1000;  // values that are told apart; no atlas has more

// What the finite values of an image are like.
struct ImageValues {
  std::array<double, 2> range = {std::numeric_limits<double>::infinity(),
                                 -std::numeric_limits<double>::infinity()};
  std::int64_t bad = 0;  // NaN and infinite ones
  bool whole = true;
};

ImageValues values_of(const torch::Tensor& voxels) {
  const torch::Tensor values = voxels.contiguous();
  const float* value = values.const_data_ptr<float>();
  ImageValues found;
  for (std::int64_t i = 0; i < values.numel(); ++i) {
    if (!std::isfinite(value[i])) {
      ++found.bad;
      continue;
    }
    const double finite = value[i];
    found.range = {std::min(found.range[0], finite), std::max(found.range[1], finite)};
    found.whole = found.whole && value[i] == std::trunc(value[i]);
  }
  return found;
}

// What a file that should be a label map holds.
struct HeldValues {
  std::size_t distinct = 0;  // up to one more than kMostTold
  ImageValues all;

  // "234 distinct values from -1000 to 3000".
  std::string describe() const {
    return (distinct > kMostTold ? "more than " + std::to_string(kMostTold)
                                 : std::to_string(distinct)) +
           " distinct values from " + shortest(all.range[0]) + " to " + shortest(all.range[1]);
  }
  // Values that no label map has.
  bool only_an_image_has() const { return distinct > kMostTold || all.range[0] < 0 || !all.whole; }
};

HeldValues held_values(const torch::Tensor& voxels) {
  const torch::Tensor values = voxels.to(torch::kFloat32).contiguous();
  const float* value = values.const_data_ptr<float>();
  std::set<float> distinct;
  for (std::int64_t i = 0; i < values.numel() && distinct.size() <= kMostTold; ++i)
    if (std::isfinite(value[i])) distinct.insert(value[i]);
  return {.distinct = distinct.size(), .all = values_of(values)};
}

class CaseChecker {
 public:
  CaseChecker(const Case& entry, const CheckSetting& setting, CheckedCase& result)
      : entry_(entry),
        dataset_(setting.dataset),
        options_(setting.read),
        drawn_(setting.drawn),
        seen_(setting.seen),
        result_(result) {
    options_.refuse_nan = false;  // they are counted
  }

  void run(bool labelled) {
    for (const fs::path& file : entry_.images) check_image(file);
    check_channels();
    const auto& range = result_.facts.value_range;
    if (result_.facts.channels > 0 && range[0] < range[1])
      result_.fingerprint = fingerprint_.text();
    if (labelled && !entry_.label.empty()) check_label();
  }

 private:
  void fault(const fs::path& file, const std::string& what, const std::string& found,
             const std::string& expected, const std::string& fix) {
    result_.faults.push_back({file.string(), what, found, expected, fix});
  }

  // Whether the file is there; says why not, if it is not.
  bool is_there(const fs::path& file) {
    struct stat status {};
    if (stat(file.c_str(), &status) == 0) return true;
    const int cause = errno;
    const bool listed = !dataset_.file.empty();  // else it was named on the command line
    const std::string purpose =
        listed ? "the file of case " + entry_.name : "an image, a DICOM folder or a data set";
    const std::string way_out = listed ? "restore it or remove its entry" : "check the path";
    std::error_code error;
    if (cause == ENOENT && fs::is_symlink(file, error))
      fault(file, "a broken link", "a link to " + fs::read_symlink(file, error).string(), purpose,
            listed ? "restore what it points to or remove its entry" : "restore what it points to");
    else if (cause == ENOENT || cause == ENOTDIR)
      fault(file, "a missing file", "nothing", purpose, way_out);
    else
      result_.faults.push_back(unreadable(file.string(), cause));
    return false;
  }

  std::optional<Volume> read(const fs::path& file,
                             Volume (*reader)(const fs::path&, const ReadOptions&)) {
    if (!is_there(file)) return std::nullopt;
    try {
      return reader(file, options_);
    } catch (const InputError& error) {
      result_.faults.push_back(error.fault());
    } catch (const TooLargeToRead& large) {  // nothing is wrong with it as far as it was read
      result_.faults.push_back(large.fault());
      result_.faults.back().what = "an image larger than the memory";
    } catch (const std::exception& failed) {
      fault(file, "unreadable", failed.what(), "", "get the file again");
    }
    return std::nullopt;
  }

  // Every file of a DICOM folder that may have been a slice is a fault of its own.
  bool accounts_for_files(const fs::path& folder) {
    std::error_code error;
    if (!fs::is_directory(folder, error)) return true;
    try {
      const DicomFolder content = read_dicom_folder(folder, options_.dicom_series);
      for (const Fault& file : content.doubtful) {
        result_.faults.push_back(file);
        result_.faults.back().what = "a DICOM series that may be incomplete";
      }
      std::move(content.left_out.begin(), content.left_out.end(),
                std::back_inserter(result_.ignored));
      return content.doubtful.empty();
    } catch (const InputError&) {  // said when it is read
      return true;
    }
  }

  void check_image(const fs::path& file) {
    if (!accounts_for_files(file)) return;
    const auto image = read(file, &read_image);
    if (!image) return;
    CaseFacts& facts = result_.facts;
    check_values(file, image->voxels);
    if (seen_) seen_(image->voxels);
    if (facts.channels == 0) {
      facts.geometry = image->geometry;
      grid_ = image->geometry;
      keep_image(*image);
    } else {
      check_grid(file, image->geometry, "the other channels");
    }
    facts.channels += image->voxels.size(0);
    fingerprint_.add(image->voxels);
  }

  void keep_image(const Volume& image) {
    if (!drawn_) return;
    result_.grey = grey_image(image);
    result_.maps.geometry = image.geometry;
  }

  // A map of the image's size is drawn over it voxel for voxel, wherever its header puts it.
  void keep_label(const Volume& label) {
    if (!drawn_) return;
    CaseMaps& maps = result_.maps;
    if (!result_.grey) {
      maps.geometry = label.geometry;
      maps.notes.push_back("No image: outlines on black");
    } else if (label.geometry.size != maps.geometry.size) {
      maps.notes.push_back("The label map is not shown: it has " + label.geometry.describe());
      return;
    } else if (grid_difference(label.geometry, maps.geometry)) {
      maps.notes.push_back(
          "The label map lies elsewhere by its header; it is drawn voxel for voxel");
    }
    maps.reference = label.voxels[0];
  }

  void check_values(const fs::path& file, const torch::Tensor& voxels) {
    const ImageValues found = values_of(voxels);
    auto& range = result_.facts.value_range;
    if (found.bad < voxels.numel())
      range = result_.facts.channels == 0 ? found.range
                                          : std::array{std::min(range[0], found.range[0]),
                                                       std::max(range[1], found.range[1])};
    whole_ = whole_ && found.whole;
    if (found.bad > 0)
      fault(file, "NaN or infinite voxels",
            std::to_string(found.bad) + " of " + std::to_string(voxels.numel()), "none",
            "replace them by the value of air or of their surroundings");
  }

  void check_grid(const fs::path& file, const Geometry& found, const std::string& partner) {
    if (!grid_) return;
    const auto difference = grid_difference(found, *grid_);
    if (!difference) return;
    const std::string image = entry_.images.front().string();
    fault(file, difference->what + " than " + partner, difference->found, difference->expected,
          !difference->same_points_fix.empty() ? difference->same_points_fix
          : found.size != grid_->size
              ? "resample it onto the grid of " + image
              : "copy the geometry of " + image + " if the voxels match, else resample");
  }

  void check_channels() {
    const auto expected = static_cast<std::int64_t>(dataset_.channels.size());
    const std::int64_t found = result_.facts.channels;
    if (expected == 0 || found == 0 || found == expected || !result_.faults.empty()) return;
    fault(entry_.images.front(), "a wrong number of channels", std::to_string(found),
          std::to_string(expected), "correct the image or the channels that dataset.json declares");
  }

  // Only declared values, and not of one of them alone.
  bool image_looks_like_label() const {
    const auto& range = result_.facts.value_range;
    return result_.facts.channels > 0 && whole_ && range[0] == 0 && range[1] >= 1 &&
           range[1] <= dataset_.labels.rbegin()->first;
  }

  // Says so if an image was given in the place of the label map: its values are many, and either
  // none that a label map has, or the case's image is a label map. `before`: a fault that this one
  // takes the place of.
  bool label_is_an_image(const torch::Tensor& voxels, bool before) {
    const HeldValues held = held_values(voxels);
    if (held.distinct <= dataset_.labels.size() + kManyValues) return false;
    const bool exchanged = image_looks_like_label();
    if (!exchanged && (voxels.size(0) != 1 || !held.only_an_image_has())) return false;
    if (before) result_.faults.pop_back();
    const std::string image = entry_.images.front().string();
    fault(entry_.label, "a label that looks like an image", held.describe(),
          "0 to " + std::to_string(dataset_.labels.rbegin()->first),
          exchanged ? "is it exchanged with " + image +
                          "? That file holds only label values: exchange the two"
                    : "name the label map of this case");
    return true;
  }

  // A file that reading it as a label map refused: it may be readable as an image.
  void check_refused_label() {
    std::error_code error;
    if (!fs::exists(entry_.label, error)) return;
    try {
      label_is_an_image(read_image(entry_.label, options_).voxels, true);
    } catch (const std::exception&) {  // the fault that was found stands
    }
  }

  void check_label() {
    const auto label = read(entry_.label, &read_label);
    if (label) keep_label(*label);
    if (dataset_.labels.empty()) return;
    if (!label) return check_refused_label();
    if (!grid_) result_.facts.geometry = label->geometry;
    check_grid(entry_.label, label->geometry, "its image");
    auto& counts = result_.facts.label_voxels = count_values(label->voxels);
    const std::string unknown = undeclared_values(counts, dataset_.labels);
    if (counts.size() > dataset_.labels.size() + kManyValues &&
        label_is_an_image(label->voxels, false))
      return;
    if (!unknown.empty())
      fault(entry_.label, "unknown label values", unknown,
            "0 to " + std::to_string(dataset_.labels.rbegin()->first),
            "declare these labels, or correct or renumber the label map");
    if (image_looks_like_label())
      result_.notes.push_back("the image of " + entry_.name +
                              " holds only values of labels; is it a label map?");
    if (counts.size() > 1) {
      VoxelFingerprint fingerprint;
      fingerprint.add(label->voxels.to(torch::kInt32));
      result_.label_fingerprint = fingerprint.text();
    }
    if (counts.size() == 1 && counts.begin()->first == 0) {
      result_.notes.push_back(entry_.name + " has no foreground (a negative case)");
      return;
    }
    check_annotation(counts);
  }

  void check_annotation(const std::map<std::int64_t, std::int64_t>& counts) {
    for (const auto& [id, name] : dataset_.labels) {
      if (id == 0) continue;
      const auto& annotated = result_.facts.annotated;  // ascending
      const bool looked_for = std::binary_search(annotated.begin(), annotated.end(), id);
      const auto count = counts.find(id);
      if (count != counts.end() && !looked_for)
        fault(entry_.label, "a label that is not annotated",
              std::to_string(count->second) + " voxels of " + name,
              "none, as \"annotated\" does not list " + std::to_string(id),
              "add it to \"annotated\" or erase it");
      if (count == counts.end() && looked_for)
        result_.notes.push_back(entry_.name + " has no " + name);
    }
  }

  const Case& entry_;
  const Dataset& dataset_;
  ReadOptions options_;
  const bool drawn_;
  const std::function<void(const torch::Tensor&)>& seen_;
  CheckedCase& result_;
  std::optional<Geometry> grid_;  // of the first image that could be read
  bool whole_ = true;             // are all values of the image whole numbers?
  VoxelFingerprint fingerprint_;
};

}  // namespace

CheckedCase check_case(const Case& entry, const CheckSetting& setting) {
  CheckedCase result;
  result.facts.name = entry.name;
  if (setting.labelled) result.facts.annotated = annotated_ids(entry, setting.dataset);
  CaseChecker(entry, setting, result).run(setting.labelled);
  return result;
}

}  // namespace lamp
