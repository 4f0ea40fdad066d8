// JSON, rewritten after a case: some hundred cases make a file of some ten kilobytes.
#include "lamp/convert/prepare_record.h"

#include <system_error>
#include <unordered_set>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/safe_path.h"
#include "lamp/base/setting_name.h"
#include "lamp/base/sha256.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

constexpr const char* kFile = ".prepare.json";
constexpr const char* kFormat = "lamp-prepare-1";

Json overlaps_json(const std::vector<Overlap>& overlaps) {
  Json rows = Json::array();
  for (const Overlap& overlap : overlaps)
    rows.push_back({overlap.kept, overlap.lost, overlap.voxels});
  return rows;
}

Json case_json(const FinishedCase& finished) {
  return {{"sources", finished.sources},
          {"bytes", {finished.image.bytes, finished.label.bytes}},
          {"sha256", {finished.image.sha256, finished.label.sha256}},
          {"training", finished.facts.training},
          {"annotated", finished.facts.annotated},
          {"overlaps", overlaps_json(finished.facts.overlaps)},
          {"notes", finished.facts.notes},
          {"scaled", finished.facts.scaled}};
}

std::vector<std::string> parse_names(const Json& json) {
  auto names = json.get<std::vector<std::string>>();
  for (const std::string& name : names)
    if (!fault_of_name(name).empty()) throw UsageError("a name that no case may have");
  return names;
}

WrittenFile parse_written(const Json& finished, std::size_t place) {
  return {.bytes = finished.at("bytes").at(place).get<std::uintmax_t>(),
          .sha256 = finished.at("sha256").at(place).get<std::string>()};
}

FinishedCase parse_case(const std::string& name, const Json& json) {
  FinishedCase finished{.sources = json.at("sources"),
                        .image = parse_written(json, 0),
                        .label = parse_written(json, 1)};
  finished.facts = {.name = name,
                    .training = json.at("training").get<bool>(),
                    .annotated = json.at("annotated").get<std::vector<int>>(),
                    .notes = json.at("notes").get<std::vector<std::string>>(),
                    .scaled = json.at("scaled").get<bool>()};
  for (const Json& row : json.at("overlaps"))
    finished.facts.overlaps.push_back({.kept = row.at(0).get<int>(),
                                       .lost = row.at(1).get<int>(),
                                       .voxels = row.at(2).get<std::int64_t>()});
  return finished;
}

}  // namespace

std::optional<PrepareRecord> PrepareRecord::read(const fs::path& folder) {
  std::error_code error;
  if (!fs::exists(folder / kFile, error)) return std::nullopt;
  try {
    const Json json = read_json(folder / kFile);
    PrepareRecord record;
    if (json.at("format") != kFormat) throw UsageError("another format");
    record.settings = json.at("settings");
    record.cases = parse_names(json.at("cases"));
    record.test = parse_names(json.at("test"));
    record.ended = json.at("ended").get<bool>();
    record.dataset_sha256 = json.at("dataset_sha256").get<std::string>();
    const std::unordered_set<std::string> known(record.cases.begin(), record.cases.end());
    for (const auto& [name, entry] : json.at("finished").items()) {
      if (!known.contains(name)) throw UsageError("a case that is none");
      record.finished.emplace(name, parse_case(name, entry));
    }
    return record;
  } catch (const std::exception&) {  // no JSON, or not of our making
    throw UsageError("prepare " + setting_name("output") +
                     ": found a record that cannot be read: " + (folder / kFile).string() +
                     ", expected what lamp prepare wrote; choose another folder");
  }
}

void PrepareRecord::write(const fs::path& folder) const {
  Json json = {{"format", kFormat},
               {"settings", settings},
               {"cases", cases},
               {"test", test},
               {"ended", ended},
               {"dataset_sha256", dataset_sha256},
               {"finished", Json::object()}};
  for (const auto& [name, entry] : finished) json["finished"][name] = case_json(entry);
  write_file(folder / kFile, dump_json(json) + "\n");
}

std::string changed_setting(const Json& found, const Json& expected) {
  for (const auto& [key, value] : expected.items()) {
    const Json before = found.is_object() ? found.value(key, Json()) : Json();
    if (before != value) return key + " " + before.dump() + ", asked for " + value.dump();
  }
  return "";
}

WrittenFile written_file(const fs::path& file) {
  const std::string bytes = read_file(file);
  return {.bytes = bytes.size(), .sha256 = sha256(bytes)};
}

void refuse_as_changed(const fs::path& file, const std::string& how) {
  throw UsageError("prepare " + setting_name("output") + ": found " + file.string() +
                   " changed since it was written" + how +
                   ", expected what the same command wrote; move it away or choose another folder");
}

void refuse_changed_file(const fs::path& file, const WrittenFile& written, bool reads_bytes) {
  std::error_code error;
  const auto found = fs::file_size(file, error);
  if (error) return;
  if (found != written.bytes)
    refuse_as_changed(
        file, " (" + std::to_string(found) + " bytes, were " + std::to_string(written.bytes) + ")");
  if (reads_bytes && written_file(file).sha256 != written.sha256) refuse_as_changed(file);
}

Json stamp_of(const SourceCase& source) {
  std::vector<fs::path> files = {source.image};
  if (!source.label.empty()) files.push_back(source.label);
  for (const auto& [id, file] : source.structures) files.push_back(file);
  Json stamp = Json::array();
  for (const fs::path& file : files) {
    std::error_code no_size, no_time;
    const auto bytes = fs::file_size(file, no_size);
    const auto time = fs::last_write_time(file, no_time).time_since_epoch().count();
    const bool there = !no_size && !no_time;
    stamp.push_back({file.filename().string(), there ? Json(bytes) : Json("missing"),
                     there ? Json(time) : Json()});
  }
  return stamp;
}

}  // namespace lamp
