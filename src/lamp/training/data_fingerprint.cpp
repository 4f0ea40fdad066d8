// Rows are made on several threads; what is compared is their order, their names and their digests.
#include "lamp/training/data_fingerprint.h"

#include <map>
#include <vector>

#include "lamp/base/each_case.h"
#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/sha256.h"
#include "lamp/base/text.h"
#include "lamp/cases/case_sources.h"
#include "lamp/training/run_place.h"
#include "lamp/training/run_state.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

constexpr const char* kFingerprintFormat = "lamp-data-fingerprint";
constexpr const char* kOldFile = "dataset.json";

// By the case's name, what `earlier` remembers of its files.
std::map<std::string, Json> known_files(const Json& earlier) {
  std::map<std::string, Json> known;
  if (!earlier.is_object()) return known;
  for (const char* list : {"training", "validation"})
    for (const Json& row : earlier.value(list, Json::array()))
      if (row.is_object() && row.contains("files"))
        known[row["name"].get<std::string>()] = row["files"];
  return known;
}

Json row_of(const Case& entry, const std::map<std::string, Json>& known,
            const std::optional<fs::path>& stamps) {
  const auto remembered = known.find(entry.name);
  const CaseSources sources =
      read_case_sources(entry, stamps ? stamp_path(*stamps, entry) : fs::path(),
                        remembered == known.end() ? Json() : remembered->second);
  Json row = {{"name", entry.name}};
  if (entry.annotated) row["annotated"] = *entry.annotated;
  row["images"] = entry.images.size();
  row["files"] = remembered_files(sources);
  return row;
}

std::string first_path(const Json& row) {
  return row["files"].empty() ? row["name"].get<std::string>()
                              : row["files"][0]["path"].get<std::string>();
}

// What differs between two rows of one case; empty if nothing does.
std::string difference(const Json& before, const Json& now) {
  const std::string name = now["name"].get<std::string>();
  if (before["name"] != now["name"])
    return first_path(now) + " (case " + name + ") stands where " +
           before["name"].get<std::string>() + " was";
  if (before["images"] != now["images"] || before["files"].size() != now["files"].size())
    return "case " + name + " has " + counted(now["files"].size(), "file") + ", had " +
           std::to_string(before["files"].size()) + " (" + first_path(now) + ")";
  for (std::size_t i = 0; i < now["files"].size(); ++i)
    if (before["files"][i]["sha256"] != now["files"][i]["sha256"])
      return now["files"][i]["path"].get<std::string>() + " holds other bytes than before";
  if (before.value("annotated", Json()) != now.value("annotated", Json()))
    return "the \"annotated\" list of case " + name + " (" + first_path(now) + ")";
  return "";
}

std::string difference(const Json& before, const Json& now, const char* list) {
  const Json& old_rows = before[list];
  const Json& rows = now[list];
  for (std::size_t i = 0; i < rows.size() && i < old_rows.size(); ++i)
    if (std::string text = difference(old_rows[i], rows[i]); !text.empty()) return text;
  if (rows.size() == old_rows.size()) return "";
  return std::to_string(rows.size()) + " " + list + " cases, there were " +
         std::to_string(old_rows.size());
}

// Names, sizes on disk and labels: all that runs recorded before there were digests.
std::string difference_from_old(const Json& before, const Json& now) {
  const Json& rows = now["training"];
  const Json& old_rows = before["training"];
  for (std::size_t i = 0; i < rows.size() && i < old_rows.size(); ++i) {
    if (old_rows[i]["name"] != rows[i]["name"]) return "case " + rows[i]["name"].dump();
    std::uint64_t bytes = 0;
    for (const Json& file : rows[i]["files"]) bytes += file["bytes"].get<std::uint64_t>();
    // Folders and the voxels beside a text header were not counted then.
    const bool plain = rows[i]["files"].size() == rows[i]["images"].get<std::size_t>() + 1;
    if (plain && old_rows[i]["bytes"] != bytes)
      return first_path(rows[i]) + " and its label have " + std::to_string(bytes) + " bytes, had " +
             old_rows[i]["bytes"].dump();
    if (old_rows[i].value("annotated", Json()) != rows[i].value("annotated", Json()))
      return "the \"annotated\" list of case " + rows[i]["name"].dump();
  }
  if (rows.size() == old_rows.size()) return "";
  return counted(rows.size(), "training case") + ", there were " + std::to_string(old_rows.size());
}

bool is_fingerprint(const Json& json) {
  if (!json.is_object() || json.value("format", Json()) != kFingerprintFormat ||
      !json.value("labels", Json()).is_object() || !json.value("path", Json()).is_string())
    return false;
  for (const char* list : {"training", "validation"}) {
    const Json rows = json.value(list, Json());
    if (!rows.is_array()) return false;
    for (const Json& row : rows) {
      if (!row.is_object() || !row.value("name", Json()).is_string() ||
          !row.value("images", Json()).is_number_integer() ||
          !row.value("files", Json()).is_array())
        return false;
      for (const Json& file : row["files"])
        if (!file.is_object() || !file.value("path", Json()).is_string() ||
            !file.value("sha256", Json()).is_string())
          return false;
    }
  }
  return true;
}

}  // namespace

Json data_fingerprint(const Dataset& dataset, const Json& earlier,
                      const std::optional<fs::path>& stamps) {
  Json json = {{"format", kFingerprintFormat},
               {"version", 1},
               {"path", fs::absolute(dataset.file).lexically_normal().string()},
               {"labels", Json::object()}};
  for (const auto& [id, name] : dataset.labels) json["labels"][std::to_string(id)] = name;
  std::vector<const Case*> cases;
  for (const auto* list : {&dataset.training, &dataset.validation})
    for (const Case& entry : *list) cases.push_back(&entry);
  const auto known = known_files(earlier);
  std::vector<Json> rows(cases.size());
  for_each_case({.title = "reading the data set", .cases = cases.size()}, [&](std::size_t i) {
    rows[i] = row_of(*cases[i], known, stamps);
    return cases[i]->name;
  });
  json["training"] = Json::array();
  json["validation"] = Json::array();
  for (std::size_t i = 0; i < rows.size(); ++i)
    json[i < dataset.training.size() ? "training" : "validation"].push_back(std::move(rows[i]));
  return json;
}

std::string content_digest(const Json& fingerprint) {
  Json content = {{"labels", fingerprint["labels"]}};
  for (const char* list : {"training", "validation"}) {
    content[list] = Json::array();
    for (const Json& row : fingerprint[list]) {
      Json kept = {row["name"], row.value("annotated", Json()), row["images"]};
      for (const Json& file : row["files"]) kept.push_back(file["sha256"]);
      content[list].push_back(std::move(kept));
    }
  }
  return sha256(content.dump(-1, ' ', false, Json::error_handler_t::replace));
}

Json read_fingerprint(const fs::path& run) {
  std::error_code error;
  if (fs::exists(run / kFingerprintFile, error)) {
    Json json = read_json(run / kFingerprintFile);
    if (!is_fingerprint(json))
      throw InputError({.file = (run / kFingerprintFile).string(),
                        .what = "cannot resume",
                        .found = "something else than the fingerprint of a data set",
                        .expected = "what lamp train wrote",
                        .fix = "restore it or use another run folder"});
    return json;
  }
  if (!fs::is_regular_file(run / kOldFile, error)) return {};
  Json old = read_json(run / kOldFile);
  return is_old_fingerprint(old) ? old : Json();
}

void refuse_changed_data(const fs::path& run, const Json& before, const Json& now,
                         const std::string& trained_on) {
  std::string changed;
  if (before.is_null()) {
    if (trained_on.empty())
      throw InputError({.file = (run / kFingerprintFile).string(),
                        .what = "cannot resume",
                        .found = "nothing",
                        .expected = "the fingerprint of the data that the run was trained on",
                        .fix = "put a copy back or begin anew in another folder"});
  } else if (before["labels"] != now["labels"]) {
    changed = "the labels were " + dump_json(before["labels"], -1) + ", now " +
              dump_json(now["labels"], -1);
  } else if (before.value("format", Json()) != kFingerprintFormat) {
    changed = difference_from_old(before, now);
  } else {
    changed = difference(before, now, "training");
    if (changed.empty()) changed = difference(before, now, "validation");
  }
  if (changed.empty() && !trained_on.empty() && trained_on != content_digest(now))
    changed = "the digest in " + state_file(run).string() + " is that of other data";
  if (!changed.empty())
    throw UsageError("cannot resume " + run.string() + ": the data set has changed since: " +
                     changed + "; restore it or use another run folder");
}

}  // namespace lamp
