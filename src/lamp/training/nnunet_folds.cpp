// Numpy's legacy shuffle is rebuilt here, since the folds are defined by it.
#include "lamp/training/nnunet_folds.h"

#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <random>
#include <set>
#include <utility>

#include "lamp/base/errors.h"
#include "lamp/base/text.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

constexpr int kFolds = 5;

constexpr std::uint32_t kSeed = 12345;

// numpy.random.RandomState(seed).shuffle(order): Fisher and Yates from the end, each draw from the
// Mersenne twister masked to the bits it needs and drawn again while too large.
void shuffle_as_numpy(std::vector<std::size_t>& order, std::uint32_t seed) {
  std::mt19937 twister(seed);
  for (std::size_t i = order.size() - 1; i > 0; --i) {
    std::uint32_t mask = static_cast<std::uint32_t>(i);
    for (const int shift : {1, 2, 4, 8, 16}) mask |= mask >> shift;
    std::uint32_t drawn = static_cast<std::uint32_t>(twister()) & mask;
    while (drawn > i) drawn = static_cast<std::uint32_t>(twister()) & mask;
    std::swap(order[i], order[drawn]);
  }
}

[[noreturn]] void refuse_folds(const fs::path& file, Fault rest) {
  rest.file = file.string();
  rest.what = "folds that cannot be used";
  rest.fix = "correct the file or remove it";
  throw InputError(std::move(rest));
}

std::vector<std::string> read_names(const Json& fold, const char* key, const fs::path& file,
                                    const std::string& where) {
  const Json names = fold.is_object() ? fold.value(key, Json()) : Json();
  std::vector<std::string> list;
  if (names.is_array())
    for (const Json& name : names)
      if (name.is_string()) list.push_back(name.get<std::string>());
  if (!names.is_array() || list.size() != names.size())
    refuse_folds(file, {.found = where + ": no list of names under \"" + key + "\"",
                        .expected = "{\"train\": [\"case\", ...], \"val\": [...]}"});
  return list;
}

void check_names(const Fold& fold, const std::set<std::string>& known, const fs::path& file,
                 const std::string& where) {
  std::set<std::string> seen;
  for (const auto* list : {&fold.training, &fold.validation}) {
    for (const std::string& name : *list) {
      if (!known.contains(name))
        refuse_folds(file,
                     {.found = where + ": case \"" + shortened(name) + "\"",
                      .expected = "cases of the data set" +
                                  (known.empty() ? "" : ", such as \"" + *known.begin() + "\"")});
      if (!seen.insert(name).second)
        refuse_folds(file, {.found = where + ": case \"" + shortened(name) + "\" twice",
                            .expected = "every case once, either in \"train\" or in \"val\""});
    }
  }
  if (fold.training.empty() || fold.validation.empty())
    refuse_folds(file, {.found = where + ": no case under \"" +
                                 (fold.training.empty() ? "train" : "val") + "\"",
                        .expected = "at least one"});
}

}  // namespace

std::optional<fs::path> find_folds_file(const Dataset& dataset) {
  const fs::path root = fs::absolute(dataset.file).lexically_normal().parent_path();
  std::vector<fs::path> places = {root};
  if (const char* preprocessed = std::getenv("nnUNet_preprocessed"))
    places.push_back(fs::path(preprocessed) / root.filename());
  if (root.parent_path().filename() == "nnUNet_raw")
    places.push_back(root.parent_path().parent_path() / "nnUNet_preprocessed" / root.filename());
  for (const fs::path& place : places) {
    std::error_code error;
    if (fs::exists(place / kFoldsFile, error)) return place / kFoldsFile;
  }
  return std::nullopt;
}

std::vector<Fold> read_folds(const fs::path& file, const Dataset& dataset) {
  const Json json = read_json(file);
  if (!json.is_array() || json.empty())
    refuse_folds(file, {.found = "no list of folds",
                        .expected = "[{\"train\": [...], \"val\": [...]}, ...]"});
  std::set<std::string> known;
  for (const Case& entry : dataset.training) known.insert(entry.name);
  std::vector<Fold> folds;
  for (const Json& item : json) {
    const std::string where = "fold " + std::to_string(folds.size());
    Fold fold{read_names(item, "train", file, where), read_names(item, "val", file, where)};
    check_names(fold, known, file, where);
    folds.push_back(std::move(fold));
  }
  return folds;
}

std::vector<Fold> make_folds(std::vector<std::string> names) {
  if (names.size() < static_cast<std::size_t>(kFolds))
    throw UsageError("configuration: validation.fold: found " +
                     counted(names.size(), "training case") + ", expected at least " +
                     std::to_string(kFolds) + " for five folds; use validation.fraction instead");
  std::sort(names.begin(), names.end());
  std::vector<std::size_t> order(names.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  shuffle_as_numpy(order, kSeed);
  std::vector<Fold> folds(kFolds);
  std::size_t begin = 0;
  for (std::size_t f = 0; f < folds.size(); ++f) {
    const std::size_t size = names.size() / kFolds + (f < names.size() % kFolds ? 1 : 0);
    const std::set<std::size_t> held(order.begin() + static_cast<std::ptrdiff_t>(begin),
                                     order.begin() + static_cast<std::ptrdiff_t>(begin + size));
    for (std::size_t i = 0; i < names.size(); ++i)
      (held.contains(i) ? folds[f].validation : folds[f].training).push_back(names[i]);
    begin += size;
  }
  return folds;
}

Json to_json(const std::vector<Fold>& folds) {
  Json json = Json::array();
  for (const Fold& fold : folds)
    json.push_back({{"train", fold.training}, {"val", fold.validation}});
  return json;
}

}  // namespace lamp
