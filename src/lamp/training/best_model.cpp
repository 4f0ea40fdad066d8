// What the file holds is read from the file: it may be older or newer than the saved state.
#include "lamp/training/best_model.h"

#include <cmath>
#include <limits>
#include <system_error>

#include "lamp/base/errors.h"
#include "lamp/base/log.h"
#include "lamp/base/safetensors.h"
#include "lamp/base/text.h"

namespace lamp {
namespace {

// The file's own words; null for a file of before they were written. Read in full, as words alone
// would pass for a network whose bits have changed.
Json provenance_of(const std::filesystem::path& file) {
  const auto metadata = read_safetensors(file).metadata;
  const auto config = metadata.find("config");
  if (config == metadata.end())
    throw InputError({.file = file.string(),
                      .what = "no model",
                      .found = "no \"config\" in its metadata",
                      .expected = "a model that lamp train has written",
                      .fix = "move it away"});
  return parse_json(config->second, file.string()).value("provenance", Json());
}

// Is it the network of `dice`? Then how many false positives it had: the most where the file does
// not say, so that an equal one takes its place.
bool holds_known(const Json& provenance, double dice, std::int64_t epochs_done,
                 std::int64_t& false_positives) {
  false_positives = std::numeric_limits<std::int64_t>::max();
  if (!provenance.is_object()) return true;
  const Json scored = provenance.value("validation_dice", Json());
  const Json epoch = provenance.value("epoch", Json());
  const Json count = provenance.value("false_positives", Json());
  if (!scored.is_number() || scored.get<double>() != dice) return false;
  if (epoch.is_number_integer() && epoch.get<std::int64_t>() > epochs_done) return false;
  if (count.is_number_integer()) false_positives = count.get<std::int64_t>();
  return true;
}

}  // namespace

BestModel::BestModel(const std::filesystem::path& run, double known_dice, std::int64_t epochs_done)
    : file_(run / "best.safetensors") {
  if (!(known_dice >= 0)) return;
  std::string found = "is not there";
  std::error_code error;
  if (std::filesystem::exists(file_, error)) {
    try {
      found = "holds another network";
      if (holds_known(provenance_of(file_), known_dice, epochs_done, false_positives_)) {
        dice_ = known_dice;
        return;
      }
    } catch (const std::exception&) {
      found = "cannot be read";
    }
  }
  false_positives_ = 0;
  log_warning(file_.string() + ": " + found +
              ", while the saved state knows a best network of "
              "Dice " +
              fixed(known_dice, 4) + ": the best is chosen anew from here on");
}

void BestModel::offer(const Validation& validation, Model model, std::int64_t epoch) {
  const double dice = validation.dice_mean();
  if (std::isnan(dice)) return;
  if (dice < dice_ || (dice == dice_ && validation.false_positives > false_positives_)) return;
  model.provenance = {
      {"epoch", epoch}, {"validation_dice", dice}, {"false_positives", validation.false_positives}};
  save_model(file_, model);
  dice_ = dice;
  false_positives_ = validation.false_positives;
}

void BestModel::keep_latest(Model model, std::int64_t epoch) {
  std::error_code error;
  if (dice_ >= 0 && std::filesystem::exists(file_, error)) return;
  dice_ = -1;
  model.provenance = {{"epoch", epoch}, {"validation_dice", nullptr}};
  save_model(file_, model);
}

}  // namespace lamp
