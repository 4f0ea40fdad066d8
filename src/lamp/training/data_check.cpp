// `lamp check`'s report, less what does not concern training.
#include "lamp/training/data_check.h"

#include <algorithm>
#include <map>
#include <vector>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/log.h"
#include "lamp/base/sha256.h"
#include "lamp/data/dataset_check.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

// Raise it when a check finds more, so that data sets that were sound before are looked at again.
constexpr int kCheckVersion = 1;

// Named as the cache's stamps are, so that it is cleared away with them.
fs::path stamp_of(const DataCheck& check) {
  const std::string key = "checked " + std::to_string(kCheckVersion) + "\n" + check.content + "\n" +
                          to_json(check.data).dump();
  return *check.stamps / (sha256(key).substr(0, 32) + ".stamp");
}

bool is_known(const DataCheck& check) {
  std::error_code error;
  return check.stamps && !check.content.empty() && fs::is_regular_file(stamp_of(check), error);
}

void remember(const DataCheck& check) {
  if (!check.stamps || check.content.empty()) return;
  try {
    AtomicFile file(stamp_of(check));
    file.write("{\"checked\": true}");
    file.commit(AtomicFile::kWithoutSync);
  } catch (const Error&) {  // the next start will check again
  }
}

// Against what most cases have, or the first ones where there is no majority.
void check_channels(const CheckReport& report, const Dataset& dataset,
                    std::vector<DatasetFault>& faults) {
  std::map<std::int64_t, int> counts;
  for (const CaseFacts& facts : report.cases)
    if (facts.channels > 0) ++counts[facts.channels];
  if (counts.size() < 2) return;
  const auto usual =
      std::max_element(counts.begin(), counts.end(), [](const auto& a, const auto& b) {
        return a.second < b.second;
      })->first;
  std::map<std::string, fs::path> files;
  for (const auto* list : {&dataset.training, &dataset.validation})
    for (const Case& entry : *list) files[entry.name] = entry.images.front();
  for (const CaseFacts& facts : report.cases)
    if (facts.channels > 0 && facts.channels != usual)
      faults.push_back({files[facts.name].string(), "a wrong number of channels",
                        std::to_string(facts.channels),
                        std::to_string(usual) + " as in the other cases",
                        "correct the image or leave the case out"});
}

[[noreturn]] void refuse(const std::vector<DatasetFault>& faults) {
  for (std::size_t i = 1; i < faults.size(); ++i) log_warning(to_error(faults[i]).what());
  DatasetFault first = faults.front();
  const std::size_t others = faults.size() - 1;
  if (others > 0)
    first.fix += " (and " + std::to_string(others) +
                 (others == 1 ? " more fault" : " more faults") +
                 " above; lamp check lists all; nothing was written)";
  throw to_error(first);
}

}  // namespace

void check_training_data(const DataCheck& check) {
  if (is_known(check)) return;
  CheckReport report =
      check_dataset(check.dataset, {.read = check.data.read_options(), .with_tests = false});
  std::vector<DatasetFault> faults = std::move(report.faults);
  if (faults.empty()) check_channels(report, read_dataset(check.dataset), faults);
  if (!faults.empty()) refuse(faults);
  remember(check);
}

}  // namespace lamp
