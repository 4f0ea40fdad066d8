// `lamp check`'s report, less what does not concern training.
#include "lamp/training/data_check.h"

#include <vector>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/log.h"
#include "lamp/base/sha256.h"
#include "lamp/base/text.h"
#include "lamp/dataset/dataset_check.h"
#include "lamp/dataset/dataset_lists.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

// Raise it when a check finds more, so that data sets that were sound before are looked at again.
constexpr int kCheckVersion = 2;  // more is found since 1

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

[[noreturn]] void refuse_data(const std::vector<Fault>& faults) {
  for (std::size_t i = 1; i < faults.size(); ++i) log_warning(printable(message_of(faults[i])));
  Fault first = faults.front();
  const std::size_t others = faults.size() - 1;
  if (others > 0)
    first.fix += " (and " + counted(others, "more fault") +
                 " above; lamp check lists all; nothing was written)";
  throw InputError(std::move(first));
}

}  // namespace

void check_training_data(const DataCheck& check) {
  if (is_known(check)) {
    refuse_faulty_lists(read_dataset(check.dataset));  // which may change while the files do not
    return;
  }
  const CheckReport report =
      check_dataset(check.dataset, {.read = check.data.read_options(), .with_tests = false});
  if (!report.ok()) refuse_data(report.faults);
  remember(check);
}

}  // namespace lamp
