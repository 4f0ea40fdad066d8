// The keys of dataset.json stand in the order that the Decathlon's own files have.
#include "lamp/dataset/decathlon_folder.h"

#include <algorithm>
#include <array>
#include <system_error>
#include <unordered_set>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/safe_path.h"
#include "lamp/base/text.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

Json entry_row(const DecathlonEntry& entry) {
  if (!entry.training && !entry.annotated && entry.image_file == entry.label_file)
    return "./" + entry.image();
  Json entry_row = {{"image", "./" + entry.image()}, {"label", "./" + entry.label()}};
  if (entry.annotated) entry_row["annotated"] = *entry.annotated;
  return entry_row;
}

constexpr std::array kParts = {"imagesTr", "labelsTr", "imagesTs", "labelsTs"};

bool has_description(const fs::path& json, const std::string& description) {
  try {
    const Json found = read_json(json);
    return found.is_object() && found.value("description", Json()) == Json(description);
  } catch (const InputError&) {
    return false;
  }
}

}  // namespace

std::string DecathlonEntry::image() const {
  return (training ? "imagesTr/" : "imagesTs/") + image_file;
}

std::string DecathlonEntry::label() const {
  return (training ? "labelsTr/" : "labelsTs/") + label_file;
}

Json decathlon_json(const DecathlonInfo& info, const std::vector<DecathlonEntry>& entries) {
  const auto training = std::count_if(entries.begin(), entries.end(),
                                      [](const DecathlonEntry& entry) { return entry.training; });
  Json json = {{"name", info.name},
               {"description", info.description},
               {"tensorImageSize", info.modality.size() > 1 ? "4D" : "3D"},
               {"modality", Json::object()},
               {"labels", Json::object()},
               {"numTraining", training},
               {"numTest", static_cast<std::int64_t>(entries.size()) - training},
               {"training", Json::array()},
               {"test", Json::array()}};
  for (std::size_t c = 0; c < info.modality.size(); ++c)
    json["modality"][std::to_string(c)] = info.modality[c];
  for (const auto& [id, name] : info.labels) json["labels"][std::to_string(id)] = name;
  for (const DecathlonEntry& entry : entries)
    json[entry.training ? "training" : "test"].push_back(entry_row(entry));
  return json;
}

void make_decathlon_folders(const fs::path& folder) {
  for (const char* part : kParts) make_output_folder(output_file(folder, part));
}

void remove_decathlon_leftovers(const fs::path& folder) {
  remove_stale_temporaries(folder);
  for (const char* part : kParts) remove_stale_temporaries(output_file(folder, part));
}

fs::path output_file(const fs::path& folder, const std::string& file) {
  if (stays_below(file) && lies_inside(folder, folder / file)) return folder / file;
  throw UsageError("found " + printable((folder / file).string()) + ", which leads out of " +
                   folder.string() + ", expected no links in it; choose another folder");
}

void refuse_file_as_folder(const fs::path& folder, const std::string& option) {
  std::error_code error;
  if (fs::exists(folder, error) && !fs::is_directory(folder, error))
    throw UsageError(option + ": found a file at " + folder.string() +
                     ", expected a new or empty folder");
}

void refuse_other_content(const fs::path& folder, const OwnContent& own) {
  refuse_file_as_folder(folder, own.option);
  std::error_code error;
  std::unordered_set<std::string> files = {(folder / "dataset.json").string()};
  for (const DecathlonEntry& entry : own.entries)
    files.insert({(folder / entry.image()).string(), (folder / entry.label()).string()});
  const auto refuse = [&](const std::string& found) {
    throw UsageError(own.option + ": found " + printable(found) + ", expected an empty folder or " +
                     own.expected + "; choose another folder");
  };
  fs::recursive_directory_iterator at(folder, error), end;
  if (error && error != std::errc::no_such_file_or_directory) refuse(error.message());
  for (; !error && at != end; at.increment(error)) {
    std::error_code unknown;
    const fs::path& path = at->path();
    if (at->is_symlink(unknown)) refuse("the link " + path.string());
    if (at->is_directory(unknown) || path.filename().string().starts_with('.')) continue;
    const bool foreign_json =
        path.filename() == "dataset.json" && !has_description(path, own.description);
    if (!files.contains(path.string()) || foreign_json) refuse(path.string());
  }
  if (error && error != std::errc::no_such_file_or_directory) refuse(error.message());
}

}  // namespace lamp
