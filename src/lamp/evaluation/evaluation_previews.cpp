// Images are searched once, before the first case.
#include "lamp/evaluation/evaluation_previews.h"

#include <algorithm>
#include <system_error>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/log.h"
#include "lamp/base/safe_path.h"
#include "lamp/base/setting_name.h"
#include "lamp/base/text.h"
#include "lamp/formats/volume_io.h"
#include "lamp/preview/case_planes.h"
#include "lamp/preview/png.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

struct FoundImage {
  std::optional<GreyImage> grey;
  std::string note;  // in the picture, if there is none
};

FoundImage image_of(const fs::path& file, const Geometry& grid, const ReadOptions& options) {
  if (file.empty()) return {{}, "No image was found: outlines on black"};
  try {
    const Volume image = read_image(file, options);
    if (corner_distance_voxels(image.geometry, grid) <= kSameGridVoxels)
      return {grey_image(image), ""};
    log_warning(file.string() +
                " lies on another grid than the label maps; they are drawn on black");
    return {{}, "The image lies on another grid: outlines on black"};
  } catch (const Interrupted&) {
    throw;
  } catch (const Error& error) {
    log_warning(std::string(error.what()) + "; the label maps are drawn on black");
  } catch (const std::exception&) {
    log_warning(file.string() + " is too large to be read here; the label maps are drawn on black");
  }
  return {{}, "The image cannot be read: outlines on black"};
}

}  // namespace

CaseImages::CaseImages(const std::optional<Dataset>& dataset) {
  if (!dataset) return;
  for (const auto* cases : {&dataset->training, &dataset->validation, &dataset->test}) {
    auto& by_name = cases == &dataset->test ? of_tests_ : of_training_;
    for (const Case& entry : *cases) {
      if (entry.images.empty()) continue;
      by_name.emplace(entry.name, entry.images.front());
      if (!entry.label.empty()) by_label_.emplace(real_path(entry.label), entry.images.front());
    }
  }
}

// Under the names of the cases that they may be of: also "a" of "a_0000.nii.gz".
const std::map<std::string, fs::path>& CaseImages::files_in(const fs::path& folder) {
  const auto [place, is_new] = folders_.try_emplace(folder);
  if (!is_new) return place->second;
  constexpr const char* kFirstChannel = "_0000";
  std::error_code error;
  std::map<std::string, fs::path> first_channels;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    if (!is_volume_file(at->path())) continue;
    std::string name = case_name(at->path());
    place->second.emplace(name, at->path());
    if (!name.ends_with(kFirstChannel)) continue;
    name.resize(name.size() - std::char_traits<char>::length(kFirstChannel));
    first_channels.emplace(name, at->path());
  }
  place->second.merge(first_channels);
  return place->second;
}

fs::path CaseImages::find(const CasePair& pair) {
  const fs::path labels = fs::absolute(pair.reference).parent_path();
  const bool tests = labels.filename().string().ends_with("Ts");
  if (const auto listed = by_label_.find(real_path(pair.reference)); listed != by_label_.end())
    return listed->second;
  for (const auto* names : {tests ? &of_tests_ : &of_training_, tests ? &of_training_ : &of_tests_})
    if (const auto listed = names->find(pair.name); listed != names->end()) return listed->second;
  for (const char* folder : {tests ? "imagesTs" : "imagesTr", tests ? "imagesTr" : "imagesTs"}) {
    const auto& files = files_in(labels.parent_path() / folder);
    if (const auto file = files.find(pair.name); file != files.end()) return file->second;
  }
  return {};
}

EvaluationPreviews::EvaluationPreviews(const EvaluationOptions& options,
                                       const std::vector<CasePair>& pairs,
                                       const std::optional<Dataset>& dataset)
    : folder_(options.preview),
      reading_{.refuse_nan = false, .nifti_form = options.nifti_form.value_or(NiftiForm::kRefuse)} {
  if (!folder_) return;
  if (dataset) names_.insert(dataset->labels.begin(), dataset->labels.end());
  CaseImages images(dataset);
  for (const CasePair& pair : pairs) {
    images_[pair.name] = images.find(pair);
    outputs_.add({setting_name("preview"), file_of(pair), own_png()});
  }
  for (const CasePair& pair : pairs)
    for (const fs::path& input : {pair.prediction, pair.reference, images_.at(pair.name)})
      if (!input.empty()) outputs_.protect(input);
  outputs_.check();
  outputs_.make_folders();
  tell_missing_images(dataset);
}

void EvaluationPreviews::tell_missing_images(const std::optional<Dataset>& dataset) const {
  constexpr std::size_t kMostListed = 5;
  std::vector<std::string> missing;
  for (const auto& [name, image] : images_)
    if (image.empty()) missing.push_back(name);
  if (missing.empty()) return;
  const std::string names = joined_first(missing, kMostListed);
  const char* beside = "in imagesTs or imagesTr beside the references";
  log_warning("pictures without an image: " + names + ": there is none " +
              (dataset
                   ? "in the data set " + dataset->file.string() +
                         ", which has no case of that name, nor " + beside
                   : beside + std::string("; name the data set with ") + setting_name("dataset")));
}

fs::path EvaluationPreviews::file_of(const CasePair& pair) const {
  return *folder_ / (pair.name + ".png");
}

void EvaluationPreviews::draw(const CasePair& pair, const Volume& predicted,
                              const Volume& reference) const {
  if (!folder_) return;
  const FoundImage image = image_of(images_.at(pair.name), reference.geometry, reading_);
  CaseMaps maps{.name = pair.name,
                .geometry = reference.geometry,
                .image = image.grey ? &*image.grey : nullptr,
                .result = predicted.voxels[0],
                .reference = reference.voxels[0],
                .names = names_};
  if (!image.note.empty()) maps.notes.push_back(image.note);
  const std::string png = case_png(maps);
  outputs_.confirm(file_of(pair));
  write_file(file_of(pair), png);
}

void EvaluationPreviews::remove_older(const CasePair& pair) const {
  if (folder_) outputs_.remove_older(file_of(pair));
}

}  // namespace lamp
