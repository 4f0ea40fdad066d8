// A task of the Medical Segmentation Decathlon: its labelled cases become training and test cases
// byte for byte, after each has been read as training would read it.
#include "lamp/convert/prepare_decathlon.h"

#include <algorithm>
#include <memory>

#include "lamp/base/files.h"
#include "lamp/base/log.h"
#include "lamp/base/text.h"
#include "lamp/dataset/case_volumes.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

std::string extension_of(const fs::path& file) {
  const std::string name = file.filename().string(), stem = case_name(file);
  return name.size() > stem.size() ? name.substr(stem.size()) : "";  // "." has neither
}

void refuse_other_dialects(const Dataset& dataset) {
  const bool other =
      !dataset.validation.empty() ||
      std::any_of(dataset.training.begin(), dataset.training.end(), [](const Case& entry) {
        return entry.images.size() != 1 || entry.fold || entry.label.empty();
      });
  if (other)
    throw InputError({.file = dataset.file.string(),
                      .what = "no Decathlon task",
                      .found = "the lists of another dialect (nnU-Net, MONAI)",
                      .expected = "\"training\": [{\"image\", \"label\"}]",
                      .fix = "leave it as it is, the other commands read it so"});
  if (dataset.training.empty())
    throw InputError({.file = dataset.file.string(),
                      .what = "no labelled cases",
                      .found = "none under \"training\"",
                      .expected = "some to split",
                      .fix = "add cases with labels"});
}

SourceCase make_case(const Case& entry, const Dataset& dataset) {
  return {.name = entry.name,
          .image = entry.images.front(),
          .label = entry.label,
          .annotated = annotated_ids(entry, dataset),
          .image_file = entry.name + extension_of(entry.images.front()),
          .label_file = entry.name + extension_of(entry.label)};
}

void check_format(const fs::path& file) {
  const std::string extension = extension_of(file);
  if (extension != ".nii.gz" && extension != ".nii")
    throw InputError({.file = file.string(),
                      .what = "no NIfTI file",
                      .found = "\"" + extension + "\"",
                      .expected = ".nii.gz as in the Decathlon",
                      .fix = "convert it"});
}

ReadCase read_decathlon_case(const SourceCase& source, const Dataset& dataset,
                             const ReadOptions& options) {
  const Case entry{.name = source.name, .images = {source.image}, .label = source.label};
  for (const fs::path& file : {source.image, source.label}) check_format(file);
  const Volume image = read_case_image(entry, options);
  const auto channels = static_cast<std::int64_t>(dataset.channels.size());
  if (channels != 0 && image.voxels.size(0) != channels)
    throw InputError(
        {.file = source.image.string(),
         .what = "a wrong number of channels",
         .found = std::to_string(image.voxels.size(0)),
         .expected = std::to_string(channels) + " as " + dataset.file.string() + " declares",
         .fix = "correct the image or the list"});
  const Volume label = read_case_label(entry, dataset, options);
  ReadCase result{.facts = {.name = source.name, .annotated = source.annotated}};
  if (!label.voxels.any().item<bool>())
    result.facts.notes.push_back(source.name + " has no foreground (a negative case)");
  result.write = [from_image = source.image, from_label = source.label](const fs::path& to_image,
                                                                        const fs::path& to_label) {
    write_file(to_image, read_file(from_image));
    write_file(to_label, read_file(from_label));
  };
  return result;
}

}  // namespace

SourceSet open_decathlon(const fs::path& source, const ReadOptions& options) {
  SourceSet set;
  auto dataset = std::make_shared<const Dataset>(read_dataset(source, &set.faults));
  for (const std::string& note : dataset->notes) log_info(dataset->file.string() + ": " + note);
  refuse_other_dialects(*dataset);
  set.name = dataset->name;
  set.labels = dataset->labels;
  set.modality = dataset->channels.empty() ? std::vector<std::string>{"CT"} : dataset->channels;
  for (const Case& entry : dataset->training) set.cases.push_back(make_case(entry, *dataset));
  std::sort(set.cases.begin(), set.cases.end(),
            [](const SourceCase& a, const SourceCase& b) { return a.name < b.name; });
  set.test_share = {27, 131};  // the paper's 104 / 27
  set.read = [dataset, options](const SourceCase& found) {
    return read_decathlon_case(found, *dataset, options);
  };
  if (!dataset->test.empty())
    log_info("left out: " + counted(dataset->test.size(), "test image") +
             " without labels; the test cases come from the labelled ones");
  return set;
}

}  // namespace lamp
