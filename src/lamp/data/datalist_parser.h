// What the source files that read dataset.json share. Not part of the library's interface.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "lamp/base/json.h"
#include "lamp/data/datalist.h"

namespace lamp {

// Where faults of single entries go: collected, or thrown at once when there is no list.
struct FaultSink {
  std::vector<DatasetFault>* faults = nullptr;
  void add(DatasetFault fault) const;
};

// Reads one entry of a list. What is wrong goes to the sink, and the entry is to be left out.
struct EntryParser {
  const Dataset& dataset;
  const FaultSink& sink;
  std::filesystem::path base;  // where relative paths start
  std::string where;           // "training[3]"

  std::optional<std::string> text(const Json& entry, const std::string& key, bool required) const;
  std::optional<std::vector<std::filesystem::path>> images(const Json& value) const;
  bool details(const Json& entry, Case& result) const;  // "fold" and "annotated"
  void wrong_key(const Json& entry, const std::string& key) const;
  void fault(const std::string& what, const std::string& found, const std::string& expected) const;

 private:
  std::optional<int> label_id(const Json& value) const;
};

// The entries under `key`; none if it is absent. Training entries need a label.
std::vector<Case> parse_list(const Json& root, const std::string& key, const Dataset& dataset,
                             const FaultSink& sink);

// nnU-Net v2: the cases of "dataset", or of the file names in imagesTr and imagesTs.
void find_nnunet_cases(const Json& root, Dataset& dataset, const FaultSink& sink);

// A fault of the whole file.
[[noreturn]] void refuse(const Dataset& dataset, const std::string& what,
                         const std::string& detail);

bool is_hidden(const std::filesystem::path& path);
std::vector<std::string> keys_of(const Json& object);
// The keys of an object, quoted, with commas.
std::string what_keys(const Json& object);
std::string in_quotes(const std::string& text);
// JSON in at most 60 characters.
std::string brief(const Json& value);

}  // namespace lamp
