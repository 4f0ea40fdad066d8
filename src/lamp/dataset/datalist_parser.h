// What the source files that read dataset.json share. Not part of the library's interface.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "lamp/base/json.h"
#include "lamp/base/labels.h"
#include "lamp/dataset/datalist.h"
#include "lamp/dataset/dataset_paths.h"

namespace lamp {

// Where faults of single entries go: collected, or thrown at once when there is no list.
struct FaultSink {
  std::vector<Fault>* faults = nullptr;
  void add(Fault fault) const;
};

// One dataset.json being read.
struct ListReader {
  const Json& root;
  Dataset& dataset;
  const FaultSink& sink;
  DatasetPaths& paths;
};

// Reads one entry of a list. What is wrong goes to the sink, and the entry is to be left out.
struct EntryParser {
  const ListReader& list;
  std::filesystem::path base;  // where relative paths start
  std::string where;           // "training[3]"

  std::optional<std::vector<std::filesystem::path>> images(const Json& value) const;
  // The path under `key`, which must be there.
  std::optional<std::filesystem::path> file(const Json& entry, const std::string& key) const;
  bool details(const Json& entry, Case& result) const;  // "fold" and "annotated"
  void wrong_key(const Json& entry, const std::string& key) const;
  void fault(const std::string& what, const std::string& found, const std::string& expected) const;

 private:
  std::optional<std::filesystem::path> resolve(const std::string& text) const;
  std::optional<int> label_id(const Json& value) const;
};

// The entries under `key`; none if it is absent. Training entries need a label.
std::vector<Case> parse_list(const ListReader& list, const std::string& key);

// A fault of the whole file.
[[noreturn]] void refuse(const Dataset& dataset, const std::string& what, Fault rest);

bool is_hidden(const std::filesystem::path& path);
std::vector<std::string> keys_of(const Json& object);
// The first keys of an object, quoted, with commas.
std::string what_keys(const Json& object);
std::string in_quotes(const std::string& text);
// JSON in at most 60 characters.
std::string brief(const Json& value);

}  // namespace lamp
