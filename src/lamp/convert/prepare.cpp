// One case after the other: read and checked whole, then written, then remembered.
#include "lamp/convert/prepare.h"

#include <algorithm>
#include <chrono>
#include <set>
#include <system_error>
#include <unordered_set>
#include <utility>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/interrupt.h"
#include "lamp/base/log.h"
#include "lamp/base/output_lock.h"
#include "lamp/base/progress.h"
#include "lamp/base/safe_path.h"
#include "lamp/base/setting_name.h"
#include "lamp/base/sha256.h"
#include "lamp/base/text.h"
#include "lamp/convert/prepare_decathlon.h"
#include "lamp/convert/prepare_han.h"
#include "lamp/convert/prepare_record.h"
#include "lamp/convert/prepare_source.h"
#include "lamp/convert/prepare_split.h"
#include "lamp/dataset/dataset_check.h"
#include "lamp/dataset/decathlon_folder.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

constexpr auto kRecordPause = std::chrono::seconds(1);
constexpr const char* kResume = "finished cases are kept, the same command goes on";

void validate(const PrepareOptions& options) {
  if (options.folder.empty() || options.source.empty())
    throw UsageError("prepare: found an empty name, expected the folders to read and to write");
  if (options.test && !options.test_cases.empty())
    throw UsageError("prepare: found " + setting_name("test") + " and " +
                     setting_name("test_cases") + ", expected one of them");
  if (options.test && *options.test < 0)
    throw UsageError("prepare " + setting_name("test") + ": found " +
                     std::to_string(*options.test) + ", expected 0 or more cases");
  if (options.spacing_mm && options.from != "han-npy")
    throw UsageError("prepare " + setting_name("spacing") + ": found it with " +
                     setting_to("from", options.from) +
                     ", expected it with han-npy only: the other layouts say their spacing");
  if (lies_inside(options.source, options.folder) || lies_inside(options.folder, options.source))
    throw UsageError("prepare " + setting_name("output") + ": found " + options.folder.string() +
                     " and the source " + options.source.string() +
                     ", expected folders of which none holds the other; choose another folder");
  std::error_code error;
  if (!fs::is_directory(options.source, error))
    throw InputError(
        {.file = options.source.string(),
         .what = "no data set",
         .found = std::string(fs::exists(options.source, error) ? "a file" : "nothing"),
         .expected = "the folder of a data set",
         .fix = "check the path"});
}

SourceSet open_source(const PrepareOptions& options) {
  if (options.from == "han-npy")
    return open_han_npy(options.source, options.spacing_mm.value_or(std::array{1.0, 1.0, 1.0}));
  if (options.from == "pddca") return open_pddca(options.source);
  if (options.from == "decathlon")
    return open_decathlon(options.source,
                          {.nifti_form = options.nifti_form.value_or(NiftiForm::kRefuse)});
  throw UsageError("prepare " + setting_name("from") + ": found \"" + shortened(options.from) +
                   "\", expected han-npy, pddca or decathlon");
}

Json settings_of(const PrepareOptions& options) {
  const std::set<std::string> test_cases(options.test_cases.begin(), options.test_cases.end());
  return {{"from", options.from},
          {"source", real_path(options.source).string()},
          {"spacing", options.spacing_mm ? Json(*options.spacing_mm) : Json()},
          {"test", options.test ? Json(*options.test) : Json()},
          {"test-cases", test_cases},
          {"seed", options.seed}};
}

class Preparation {
 public:
  explicit Preparation(const PrepareOptions& options)
      : folder_(options.folder), set_(open_source(options)) {
    report_ = {.folder = folder_,
               .from = options.from,
               .labels = set_.labels,
               .faults = set_.faults,
               .source_cases = set_.cases.size()};
    info_ = {.name = set_.name,
             .description = "Prepared by lamp prepare --from " + options.from,
             .modality = set_.modality,
             .labels = set_.labels};
    refuse_file_as_folder(folder_, "prepare " + setting_name("output"));
    lock_.emplace(folder_);
    begin(options);
  }

  PrepareReport run() {
    make_decathlon_folders(folder_);
    lock_->start();
    if (!resumed_) write_record();
    try {
      convert_all();
    } catch (...) {
      if (unwritten_) write_record();
      throw;
    }
    write_dataset();
    return std::move(report_);
  }

 private:
  // Goes on with what the same command began in this folder, or starts anew in an empty one.
  void begin(const PrepareOptions& options) {
    std::vector<std::string> names;
    for (const SourceCase& source : set_.cases) names.push_back(source.name);
    OwnContent own{.option = "prepare " + setting_name("output"),
                   .expected = "what the same command began",
                   .description = info_.description};
    if (auto found = PrepareRecord::read(folder_)) {
      record_ = std::move(*found);
      resumed_ = true;
      test_ = {record_.test.begin(), record_.test.end()};
      check_same_request(settings_of(options), names);
      check_record();
      for (const SourceCase& source : set_.cases) {
        if (record_.ended && !record_.finished.contains(source.name)) continue;
        own.entries.push_back(entry_of(source));
        refuse_changed(source, own.entries.back());
      }
    }
    refuse_other_content(folder_, own);
    refuse_changed_list();
    if (resumed_) return remove_decathlon_leftovers(folder_);
    for (const SourceCase& source : set_.cases) refuse_unsound_name(source);
    record_ = {.settings = settings_of(options),
               .cases = std::move(names),
               .test = choose_test_cases(set_, options)};
    test_ = {record_.test.begin(), record_.test.end()};
  }

  void convert_all() {
    Progress progress("prepare", static_cast<std::int64_t>(set_.cases.size()));
    for (const SourceCase& source : set_.cases) {
      throw_if_interrupted(kResume);
      if (!is_finished(source)) convert(source, progress);
      progress.advance(source.name);
    }
  }

  // Whatever a layout's reader took for the name of a case, two files are named by it here.
  static void refuse_unsound_name(const SourceCase& source) {
    check_name(source.name, "a case name that no file may have", source.image.string());
  }

  // After every case, as long as that costs little beside the case itself.
  void remember() {
    constexpr std::size_t kCheap = 64;
    unwritten_ = true;
    const auto now = std::chrono::steady_clock::now();
    if (record_.finished.size() > kCheap && now < next_record_) return;
    write_record();
    const auto took = std::chrono::steady_clock::now() - now;
    next_record_ =
        std::chrono::steady_clock::now() + std::max<decltype(took)>(kRecordPause, 20 * took);
  }

  void write_record() {
    record_.write(folder_);
    unwritten_ = false;
  }

  void check_same_request(const Json& settings, const std::vector<std::string>& names) const {
    const std::string other = changed_setting(record_.settings, settings);
    if (!other.empty())
      throw UsageError("prepare " + setting_name("output") + ": found a data set in " +
                       folder_.string() + " begun with " + other +
                       "; give the same options or choose another folder");
    if (record_.cases != names)
      throw UsageError("prepare " + setting_name("output") + ": found a data set in " +
                       folder_.string() + " begun with " + counted(record_.cases.size(), "case") +
                       ", the source now has " + std::to_string(names.size()) +
                       " or others, and another split would mix training and test; choose another "
                       "folder");
  }

  // A label map that was corrected here is the user's now. Bytes are read only where the case is to
  // be converted again: what stays need not be known.
  void refuse_changed(const SourceCase& source, const DecathlonEntry& entry) {
    if (!record_.ended) return;
    const FinishedCase& finished = record_.finished.at(source.name);
    const bool goes = !is_finished(source);
    refuse_changed_file(image_of(entry), finished.image, goes);
    refuse_changed_file(label_of(entry), finished.label, goes);
  }

  // So is a list with other names. Where the record does not know it, since the call
  // was killed, it is ours if this call would write the same.
  void refuse_changed_list() const {
    const fs::path file = output_file(folder_, "dataset.json");
    std::error_code error;
    if (!fs::exists(file, error)) return;
    const std::string found = read_file(file);
    if (resumed_ && (sha256(found) == record_.dataset_sha256 || found == dataset_text())) return;
    refuse_as_changed(file);
  }

  // A record from a stranger may hold labels that there are none of.
  void check_record() const {
    const auto is_label = [&](int id) { return id > 0 && set_.labels.contains(id); };
    for (const auto& [name, finished] : record_.finished) {
      const auto& facts = finished.facts;
      const bool sound =
          std::all_of(facts.annotated.begin(), facts.annotated.end(), is_label) &&
          std::all_of(facts.overlaps.begin(), facts.overlaps.end(), [&](const Overlap& overlap) {
            return is_label(overlap.kept) && is_label(overlap.lost);
          });
      if (!sound)
        throw UsageError("prepare " + setting_name("output") +
                         ": found a record that names other labels for " + name +
                         " than the source has, expected what lamp prepare wrote; choose another "
                         "folder");
    }
  }

  DecathlonEntry entry_of(const SourceCase& source) const {
    return {.training = !test_.contains(source.name),
            .image_file = source.image_file,
            .label_file = source.label_file};
  }

  bool is_finished(const SourceCase& source) const {
    const auto finished = record_.finished.find(source.name);
    if (finished == record_.finished.end() || finished->second.sources != stamp_of(source))
      return false;
    const DecathlonEntry entry = entry_of(source);
    std::error_code no_image, no_label;
    return fs::file_size(image_of(entry), no_image) == finished->second.image.bytes &&
           fs::file_size(label_of(entry), no_label) == finished->second.label.bytes && !no_image &&
           !no_label;
  }

  void convert(const SourceCase& source, Progress& progress) {
    FinishedCase finished{.sources = stamp_of(source)};  // before reading: a later change shows
    const DecathlonEntry entry = entry_of(source);
    try {
      ReadCase read = set_.read(source);
      finished.facts = std::move(read.facts);
      finished.facts.training = entry.training;
      note_partial_test(finished.facts);
      begin_change();
      read.write(image_of(entry), label_of(entry));
    } catch (const InputError& error) {
      progress.clear();
      log_warning(source.name + " is left out: " + error.what());
      report_.faults.push_back(error.fault());
      return drop(source);
    }
    finished.image = written_file(image_of(entry));
    finished.label = written_file(label_of(entry));
    progress.clear();
    warn_of(finished.facts);
    record_.finished[source.name] = std::move(finished);
    remember();
    ++report_.converted;
  }

  fs::path image_of(const DecathlonEntry& entry) const {
    return output_file(folder_, entry.image());
  }
  fs::path label_of(const DecathlonEntry& entry) const {
    return output_file(folder_, entry.label());
  }

  void note_partial_test(PreparedCase& facts) const {
    if (facts.training || facts.annotated.size() + 1 == set_.labels.size()) return;
    facts.notes.push_back(facts.name + " is a test case with " +
                          std::to_string(facts.annotated.size()) + " of " +
                          counted(set_.labels.size() - 1, "structure") + " annotated");
  }

  void warn_of(const PreparedCase& facts) const {
    for (const Overlap& overlap : facts.overlaps)
      log_warning(facts.name + ": " + counted(overlap.voxels, "voxel") + " in both " +
                  set_.labels.at(overlap.kept) + " and " + set_.labels.at(overlap.lost) +
                  ", given to the smaller, " + set_.labels.at(overlap.kept));
    for (const std::string& note : facts.notes) log_warning(printable(note));
  }

  // While pairs of images and labels change there is no data set.
  void begin_change() {
    if (record_.ended) {
      record_.ended = false;
      write_record();
    }
    std::error_code error;
    fs::remove(output_file(folder_, "dataset.json"), error);
  }

  // A case that has become faulty leaves nothing of what it was.
  void drop(const SourceCase& source) {
    const DecathlonEntry entry = entry_of(source);
    std::error_code error;
    const bool known = record_.finished.erase(source.name) > 0;
    if (!known && !fs::exists(image_of(entry), error) && !fs::exists(label_of(entry), error))
      return;
    begin_change();
    fs::remove(image_of(entry), error);
    fs::remove(label_of(entry), error);
    remember();
  }

  // Of the finished cases; empty if there are none.
  std::string dataset_text() const {
    std::vector<DecathlonEntry> entries;
    for (const SourceCase& source : set_.cases) {
      const auto finished = record_.finished.find(source.name);
      if (finished == record_.finished.end()) continue;
      const PreparedCase& facts = finished->second.facts;
      entries.push_back(entry_of(source));
      if (facts.annotated.size() + 1 < set_.labels.size())
        entries.back().annotated = facts.annotated;
    }
    return entries.empty() ? "" : dump_json(decathlon_json(info_, entries)) + "\n";
  }

  // The record first: a list that is not there is ours to write.
  void write_dataset() {
    for (const auto& [name, finished] : record_.finished) report_.cases.push_back(finished.facts);
    const std::string text = dataset_text();
    const std::string digest = text.empty() ? "" : sha256(text);
    if (!record_.ended || record_.dataset_sha256 != digest) {
      record_.ended = true;
      record_.dataset_sha256 = digest;
      write_record();
    }
    const fs::path file = output_file(folder_, "dataset.json");
    std::error_code error;
    if (text.empty())
      fs::remove(file, error);
    else if (!fs::exists(file, error) || read_file(file) != text)
      write_file(file, text);
  }

  const fs::path folder_;
  const SourceSet set_;
  std::optional<OutputLock> lock_;
  DecathlonInfo info_;
  PrepareRecord record_;
  std::unordered_set<std::string> test_;  // record_.test
  bool resumed_ = false;
  bool unwritten_ = false;  // does record_ hold more than its file?
  std::chrono::steady_clock::time_point next_record_{};
  PrepareReport report_;
};

void warn_of_unknown_spacing(const PrepareOptions& options) {
  if (options.from == "han-npy" && !options.spacing_mm)
    log_warning(
        "npy arrays do not say their spacing: 1 x 1 x 1 mm is written, and distances and volumes "
        "are in voxels; give " +
        setting_to("spacing", "X,Y,Z") + " if you know it");
}

// Such images look all alike to a window of CT values.
void warn_of_scaled_images(const PrepareReport& report) {
  const auto scaled = std::count_if(report.cases.begin(), report.cases.end(),
                                    [](const PreparedCase& facts) { return facts.scaled; });
  if (scaled > 0)
    log_warning(std::to_string(scaled) + " of " + std::to_string(report.cases.size()) +
                " images hold values from 0 to 1, not CT numbers; train them with " +
                setting_to("set", "data.window=null") +
                ", or the presets' window leaves no contrast");
}

}  // namespace

PrepareReport prepare_dataset(const PrepareOptions& options) {
  validate(options);
  warn_of_unknown_spacing(options);
  PrepareReport report = Preparation(options).run();
  warn_of_scaled_images(report);
  return report;
}

}  // namespace lamp
