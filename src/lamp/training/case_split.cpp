#include "lamp/training/case_split.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "lamp/base/errors.h"
#include "lamp/base/log.h"
#include "lamp/base/random.h"
#include "lamp/base/random_streams.h"
#include "lamp/base/sha256.h"
#include "lamp/base/text.h"
#include "lamp/training/nnunet_folds.h"

namespace lamp {
namespace {

constexpr std::size_t kShownCases = 8;

[[noreturn]] void refuse_fold(int fold, const std::string& found, const std::string& expected) {
  throw UsageError("configuration: validation.fold: found " + std::to_string(fold) + ", but " +
                   found + "; expected " + expected);
}

CaseSplit split_by_own_folds(const std::vector<Case>& cases, int fold) {
  CaseSplit split{.origin = "fold " + std::to_string(fold) + " of the data set"};
  std::set<int> known;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    (cases[i].fold == fold ? split.validation : split.training).push_back(i);
    if (cases[i].fold) known.insert(*cases[i].fold);
  }
  if (known.empty())
    refuse_fold(fold, "no training case of the data set has a \"fold\"",
                "a data set with folds, or validation.fraction");
  if (split.validation.empty())
    refuse_fold(fold, "no training case is of that fold", "one of " + joined(known));
  if (split.training.empty())
    refuse_fold(fold, "every training case is of that fold, so none is left to train on",
                "folds that share the cases out");
  return split;
}

CaseSplit split_by_nnunet_folds(const Dataset& dataset, int fold) {
  const auto file = find_folds_file(dataset);
  std::vector<std::string> names;
  std::map<std::string, std::size_t> index;
  for (std::size_t i = 0; i < dataset.training.size(); ++i) {
    names.push_back(dataset.training[i].name);
    index[names.back()] = i;
  }
  const std::vector<Fold> folds = file ? read_folds(*file, dataset) : make_folds(names);
  const auto count = static_cast<int>(folds.size());
  if (fold < 0 || fold >= count)
    refuse_fold(fold,
                std::string(count == 1 ? "there is " : "there are ") + counted(count, "fold") +
                    (file ? " in " + file->string() : ""),
                "0 to " + std::to_string(count - 1));
  const Fold& chosen = folds[static_cast<std::size_t>(fold)];
  CaseSplit split{.origin = "fold " + std::to_string(fold) + " of " +
                            (file ? file->string() : "nnU-Net's five (KFold, seed 12345)"),
                  .folds = to_json(folds)};
  for (const std::string& name : chosen.training) split.training.push_back(index.at(name));
  for (const std::string& name : chosen.validation) split.validation.push_back(index.at(name));
  std::sort(split.training.begin(), split.training.end());
  std::sort(split.validation.begin(), split.validation.end());
  const std::size_t left_out = names.size() - split.training.size() - split.validation.size();
  if (left_out > 0)
    log_warning(file->string() + ": fold " + std::to_string(fold) + " leaves out " +
                std::to_string(left_out) + " of " + counted(names.size(), "training case") +
                ": they are neither trained on nor held out");
  return split;
}

}  // namespace

CaseSplit split_cases(const std::vector<Case>& cases, const ValidationConfig& config,
                      std::uint64_t seed) {
  if (config.fold) return split_by_own_folds(cases, *config.fold);
  CaseSplit split{.origin = "drawn by the seed"};
  const auto count = static_cast<std::int64_t>(cases.size());
  std::int64_t held_out = std::llround(config.fraction * static_cast<double>(count));
  if (config.fraction > 0) held_out = std::max<std::int64_t>(held_out, 1);
  held_out = std::min(held_out, count - 1);
  std::vector<std::size_t> order(cases.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  Random random{seed, kCaseSplitStream};
  for (std::int64_t i = count - 1; i > 0; --i)
    std::swap(order[static_cast<std::size_t>(i)],
              order[static_cast<std::size_t>(random.below(i + 1))]);
  split.validation.assign(order.begin(), order.begin() + held_out);
  split.training.assign(order.begin() + held_out, order.end());
  std::sort(split.validation.begin(), split.validation.end());
  std::sort(split.training.begin(), split.training.end());
  return split;
}

CaseSplit split_dataset(Dataset& dataset, const ValidationConfig& config, std::uint64_t seed) {
  if (dataset.validation.empty()) {
    const bool own = std::any_of(dataset.training.begin(), dataset.training.end(),
                                 [](const Case& entry) { return entry.fold.has_value(); });
    return config.fold && !own ? split_by_nnunet_folds(dataset, *config.fold)
                               : split_cases(dataset.training, config, seed);
  }
  if (config.fold)
    refuse_fold(*config.fold, "the data set names its own validation cases",
                "no fold, or a data set without a \"validation\" list");
  CaseSplit split{.origin = "the data set's own validation cases"};
  split.training.resize(dataset.training.size());
  split.validation.resize(dataset.validation.size());
  std::iota(split.training.begin(), split.training.end(), std::size_t{0});
  std::iota(split.validation.begin(), split.validation.end(), dataset.training.size());
  for (Case& entry : dataset.validation) dataset.training.push_back(std::move(entry));
  dataset.validation.clear();
  return split;
}

Json to_json(const CaseSplit& split, const Dataset& dataset) {
  const auto names = [&](const std::vector<std::size_t>& indices) {
    Json list = Json::array();
    for (const std::size_t index : indices) list.push_back(dataset.training[index].name);
    return list;
  };
  return {{"origin", split.origin},
          {"training", names(split.training)},
          {"validation", names(split.validation)}};
}

std::string split_digest(const CaseSplit& split, const Dataset& dataset) {
  Json names = to_json(split, dataset);
  names.erase("origin");
  return sha256(names.dump(-1, ' ', false, Json::error_handler_t::replace));
}

std::string held_out_text(const CaseSplit& split, const Dataset& dataset) {
  std::vector<std::string> names;
  for (const std::size_t index : split.validation) names.push_back(dataset.training[index].name);
  return joined_first(names, kShownCases) + (names.size() > kShownCases ? ", see split.json" : "");
}

}  // namespace lamp
