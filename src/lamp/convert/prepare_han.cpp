// Head and neck: a folder for each case with an image and a mask for each structure. AnatomyNet's
// preprocessed arrays and the raw PDDCA release differ in their files' names and format only.
#include "lamp/convert/prepare_han.h"

#include <torch/types.h>

#include <algorithm>
#include <functional>
#include <system_error>
#include <utility>

#include "lamp/base/errors.h"
#include "lamp/base/safe_path.h"
#include "lamp/base/setting_name.h"
#include "lamp/base/text.h"
#include "lamp/dataset/case_volumes.h"
#include "lamp/formats/npy.h"
#include "lamp/volume/grid_difference.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

// Label ids 1 to 9: the order of the class weights in configs/han.json.
constexpr std::array<const char*, 9> kOrgans = {
    "BrainStem", "Chiasm",    "Mandible",        "OpticNerve_L",   "OpticNerve_R",
    "Parotid_L", "Parotid_R", "Submandibular_L", "Submandibular_R"};

// The ten off-site test cases of the MICCAI 2015 challenge, which AnatomyNet and the paper test on.
constexpr std::array<const char*, 10> kOffsiteTest = {
    "0522c0555", "0522c0576", "0522c0598", "0522c0659", "0522c0661",
    "0522c0667", "0522c0669", "0522c0708", "0522c0727", "0522c0746"};

// Releases come in parts, and people add folders such as train/ and test/.
constexpr int kDeepest = 4;

// The largest whole number up to which float32 holds every one.
constexpr float kExactLimit = 1 << 24;

struct HanLayout {
  std::string name;
  std::string image_name;        // "img.nrrd"
  std::string structure_suffix;  // BrainStem + ".nrrd"
  std::function<Volume(const fs::path&)> read_image;
  std::function<Volume(const fs::path&)> read_mask;
};

std::vector<fs::path> sorted_entries(const fs::path& folder) {
  std::vector<fs::path> entries;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (!entry.path().filename().string().starts_with('.')) entries.push_back(entry.path());
  std::sort(entries.begin(), entries.end());
  return entries;
}

class CaseFinder {
 public:
  explicit CaseFinder(const HanLayout& layout) : layout_(layout) {}

  // Folders whose names cannot name a case are faults, and are left out.
  std::vector<SourceCase> find(const fs::path& source, std::vector<Fault>& faults) {
    visit(fs::absolute(source).lexically_normal(), 0, false);
    const bool any_image = std::any_of(cases_.begin(), cases_.end(), [](const SourceCase& found) {
      std::error_code error;
      return fs::exists(found.image, error);
    });
    if (!any_image) refuse(source);
    std::sort(cases_.begin(), cases_.end(),
              [](const SourceCase& a, const SourceCase& b) { return a.name < b.name; });
    for (std::size_t i = 1; i < cases_.size(); ++i)
      if (cases_[i].name == cases_[i - 1].name) refuse_twins(cases_[i - 1], cases_[i]);
    std::erase_if(cases_, [&](const SourceCase& found) {
      const std::string fault = fault_of_name(found.name);
      if (fault.empty()) return false;
      faults.push_back({.file = printable(found.image.parent_path().string()),
                        .what = "a case name that no file may have",
                        .found = fault,
                        .expected = "a plain name",
                        .fix = "rename the folder"});
      return true;
    });
    return std::move(cases_);
  }

 private:
  void visit(const fs::path& folder, int depth, bool test) {
    std::error_code error;
    if (fs::exists(folder / layout_.image_name, error) ||
        fs::is_directory(folder / "structures", error)) {
      cases_.push_back(make_case(folder, test));
      return;
    }
    if (depth == kDeepest) return;
    for (const fs::path& entry : sorted_entries(folder))
      if (fs::is_directory(entry, error) && !leads_back(entry))
        visit(entry, depth + 1, test || lower(entry.filename().string()) == "test");
  }

  // A link to a folder that holds it would show every case again, at every depth.
  static bool leads_back(const fs::path& entry) {
    std::error_code error;
    return fs::is_symlink(entry, error) && lies_inside(entry, entry.parent_path());
  }

  SourceCase make_case(const fs::path& folder, bool test) const {
    const fs::path named = folder.filename().empty() ? folder.parent_path() : folder;  // "a/"
    SourceCase found{.name = named.filename().string(),
                     .image = folder / layout_.image_name,
                     .in_test_folder = test};
    found.image_file = found.label_file = found.name + ".nii.gz";
    for (std::size_t i = 0; i < kOrgans.size(); ++i) {
      const fs::path mask = folder / "structures" / (kOrgans[i] + layout_.structure_suffix);
      std::error_code error;
      if (!fs::exists(mask, error)) continue;
      found.structures[static_cast<int>(i) + 1] = mask;
      found.annotated.push_back(static_cast<int>(i) + 1);
    }
    return found;
  }

  [[noreturn]] void refuse(const fs::path& source) const {
    std::string hint;
    for (const auto& [image, from] :
         {std::pair{"img.nrrd", "pddca"}, std::pair{"img_crp_v2.npy", "han-npy"}}) {
      std::error_code error;
      for (const SourceCase& found : cases_)
        if (fs::exists(found.image.parent_path() / image, error))
          hint =
              std::string("there is ") + image + ", which " + setting_to("from", from) + " reads";
    }
    throw InputError(
        {.file = source.string(),
         .what = "no cases",
         .found = "no folder with " + layout_.image_name,
         .expected = "one a case, " + std::to_string(kDeepest) + " folders deep at most",
         .fix = hint.empty() ? "check the path" : hint});
  }

  [[noreturn]] static void refuse_twins(const SourceCase& a, const SourceCase& b) {
    throw InputError({.file = b.image.parent_path().string(),
                      .what = "a case twice",
                      .found = a.image.parent_path().string() + " too",
                      .expected = "each name once, or a patient may be trained on and tested",
                      .fix = "take one away or rename it"});
  }

  const HanLayout& layout_;
  std::vector<SourceCase> cases_;
};

// "Brainstem.nrrd" would pass for a brain stem that nobody annotated.
void refuse_misnamed(const SourceCase& source, const HanLayout& layout) {
  const auto bare = [](std::string name) {
    std::erase_if(name, [](char c) { return c == '_' || c == '-' || c == ' '; });
    return lower(name);
  };
  for (const fs::path& file : sorted_entries(source.image.parent_path() / "structures")) {
    for (const char* organ : kOrgans) {
      const std::string expected = organ + layout.structure_suffix;
      const std::string found = file.filename().string();
      if (found != expected && bare(found) == bare(expected))
        throw InputError({.file = file.string(),
                          .what = "a misnamed structure",
                          .found = found,
                          .expected = expected,
                          .fix = "rename it"});
    }
  }
}

// [D, H, W] bool. A mask holds 0 and one other number.
torch::Tensor read_mask(const fs::path& file, const Volume& image, const fs::path& image_file,
                        const HanLayout& layout) {
  const Volume mask = layout.read_mask(file);
  check_same_grid({mask.geometry, file}, {image.geometry, image_file}, "its image");
  const auto counts = count_values(mask.voxels);
  std::vector<std::string> others;
  for (const auto& [value, voxels] : counts)
    if (value != 0)
      others.push_back(std::to_string(value) + " (" + std::to_string(voxels) + " voxels)");
  if (counts.size() > 2 || (counts.size() == 2 && !counts.contains(0)) || counts.begin()->first < 0)
    throw InputError({.file = file.string(),
                      .what = "no mask",
                      .found = "the values " + joined(others).substr(0, 200),
                      .expected = "0 and 1",
                      .fix = "save one structure a file"});
  return mask.voxels[0] != 0;
}

// Merges masks into one label map. Where two claim a voxel the smaller structure has it: a chiasm
// of a hundred voxels would suffer more than a brain stem of ten thousand. Equal ones: the later
// label.
class MaskMerger {
 public:
  void add(int id, torch::Tensor mask) {
    const auto voxels = mask.sum().item<std::int64_t>();
    masks_.push_back({id, voxels, std::move(mask)});
  }

  torch::Tensor merge(std::vector<Overlap>& overlaps) {
    std::sort(masks_.begin(), masks_.end(), [](const Mask& a, const Mask& b) {
      return a.voxels != b.voxels ? a.voxels > b.voxels : a.id < b.id;
    });
    torch::Tensor label = torch::zeros_like(masks_.front().inside, torch::kUInt8);
    for (const Mask& mask : masks_) {
      const auto claimed = count_values(label.masked_select(mask.inside));
      for (const auto& [id, voxels] : claimed)
        if (id != 0) overlaps.push_back({mask.id, static_cast<int>(id), voxels});
      label.masked_fill_(mask.inside, mask.id);
    }
    return label;
  }

 private:
  struct Mask {
    int id;
    std::int64_t voxels;
    torch::Tensor inside;
  };
  std::vector<Mask> masks_;
};

// What every command reads is float32; whole numbers that it holds exactly take less room as
// integers.
torch::Tensor compact(const torch::Tensor& values) {
  const auto [least, most] = torch::aminmax(values);
  const float low = least.item<float>(), high = most.item<float>();
  if (low < -kExactLimit || high > kExactLimit || !torch::equal(values, values.trunc()))
    return values;
  if (low >= 0 && high <= 255) return values.to(torch::kUInt8);
  const bool fits_short = low >= -32768 && high <= 32767;
  return values.to(fits_short ? torch::kInt16 : torch::kInt32);
}

bool lies_in_unit_range(const torch::Tensor& values) {
  const auto [least, most] = torch::aminmax(values);
  return least.item<float>() >= 0 && most.item<float>() <= 1;
}

void check_channels(const Volume& image, const fs::path& file) {
  if (image.voxels.size(0) != 1)
    throw InputError({.file = file.string(),
                      .what = "several channels",
                      .found = std::to_string(image.voxels.size(0)),
                      .expected = "one CT image",
                      .fix = "save one channel a file"});
}

ReadCase read_han_case(const SourceCase& source, const HanLayout& layout) {
  refuse_misnamed(source, layout);
  const Volume image = layout.read_image(source.image);
  check_channels(image, source.image);
  ReadCase result{.facts = {.name = source.name, .scaled = lies_in_unit_range(image.voxels)}};
  MaskMerger merger;
  for (const auto& [id, file] : source.structures) {
    torch::Tensor mask = read_mask(file, image, source.image, layout);
    if (!mask.any().item<bool>()) {  // AnatomyNet takes the same view (a flag of 0 in its loss)
      result.facts.notes.push_back(source.name + ": " +
                                   kOrgans.at(static_cast<std::size_t>(id) - 1) +
                                   " is empty, taken as not annotated");
      continue;
    }
    merger.add(id, std::move(mask));
    result.facts.annotated.push_back(id);
  }
  if (result.facts.annotated.empty())
    throw InputError(
        {.file = (source.image.parent_path() / "structures").string(),
         .what = "no structures",
         .found = "no mask with a voxel in it",
         .expected = "at least one such as " + (kOrgans.front() + layout.structure_suffix),
         .fix = "add its masks or take the case away"});
  const torch::Tensor label = merger.merge(result.facts.overlaps).unsqueeze(0);
  const torch::Tensor voxels = compact(image.voxels);
  result.write = [geometry = image.geometry, voxels, label](const fs::path& image_path,
                                                            const fs::path& label_path) {
    write_volume(image_path, {geometry, voxels});
    write_volume(label_path, {geometry, label});
  };
  return result;
}

SourceSet open_han(const fs::path& source, const HanLayout& layout) {
  SourceSet set{.name = layout.name, .labels = {{0, "background"}}};
  for (std::size_t i = 0; i < kOrgans.size(); ++i) set.labels[static_cast<int>(i) + 1] = kOrgans[i];
  set.cases = CaseFinder(layout).find(source, set.faults);
  for (const SourceCase& found : set.cases)
    if (found.in_test_folder) set.usual_test.push_back(found.name);
  if (set.usual_test.empty()) set.usual_test.assign(kOffsiteTest.begin(), kOffsiteTest.end());
  set.test_share = {10, 271};  // the paper's
  set.read_before_drawing = true;
  set.read = [layout](const SourceCase& found) { return read_han_case(found, layout); };
  return set;
}

}  // namespace

SourceSet open_han_npy(const fs::path& source, const std::array<double, 3>& spacing_mm) {
  return open_han(source, {.name = "HaN_npy",
                           .image_name = "img_crp_v2.npy",
                           .structure_suffix = "_crp_v2.npy",
                           .read_image =
                               [spacing_mm](const fs::path& file) {
                                 return to_image(read_npy_volume(file, spacing_mm), {},
                                                 file.string());
                               },
                           .read_mask =
                               [spacing_mm](const fs::path& file) {
                                 return to_label(read_npy_volume(file, spacing_mm), file.string());
                               }});
}

SourceSet open_pddca(const fs::path& source) {
  return open_han(source, {.name = "PDDCA",
                           .image_name = "img.nrrd",
                           .structure_suffix = ".nrrd",
                           .read_image = [](const fs::path& file) { return read_image(file); },
                           .read_mask = [](const fs::path& file) { return read_label(file); }});
}

}  // namespace lamp
