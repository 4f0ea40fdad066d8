// Contents first, names second: a slice is what says so itself; only of what does not, the name
// tells whether it may have been one.
#include "lamp/formats/dicom_folder.h"

#include <algorithm>
#include <set>
#include <system_error>
#include <utility>

#include "lamp/base/errors.h"
#include "lamp/base/text.h"
#include "lamp/formats/dicom_choice.h"
#include "lamp/formats/dicom_elements.h"
#include "lamp/formats/file_start.h"
#include "lamp/formats/slice_names.h"
#include "lamp/formats/volume_names.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t kLookBytes = 512;
constexpr int kDeepest = 4;  // folders below are searched for slices of the series so far down
constexpr std::size_t kMostNamed = 5;

bool is_dicomdir(const fs::path& file) { return file.filename() == "DICOMDIR"; }

// Not more is asked of what bears another format's name: "DICM" behind the preamble.
bool has_dicom_mark(const fs::path& file) {
  constexpr std::size_t kPreamble = 128;
  try {
    const std::string start = read_file_start(file, kPreamble + 4).bytes;
    return start.size() > kPreamble && start.substr(kPreamble) == "DICM";
  } catch (const InputError&) {  // said where it is read
    return false;
  }
}

class Scan {
 public:
  explicit Scan(const fs::path& folder) {
    std::error_code error;
    std::vector<fs::path> entries;
    for (fs::directory_iterator entry(folder, error), end; entry != end; entry.increment(error))
      entries.push_back(entry->path());
    if (error) throw InputError(unreadable(folder.string(), error.value()));
    std::sort(entries.begin(), entries.end());
    for (const fs::path& entry : entries) look_at(entry);
  }

  std::vector<DicomSlice> slices;  // what could be read, of all kinds and series
  std::vector<Fault> damaged;      // DICOM files that cannot be trusted
  std::vector<LeftOut> strangers;  // files that are no DICOM
  std::vector<Fault> unopened;     // files of which nothing is known
  std::vector<LeftOut> harmless;   // files that are known not to be slices
  std::vector<fs::path> folders;

 private:
  void look_at(const fs::path& path) {
    std::error_code error;
    if (const std::string kind = special_kind(path); !kind.empty()) {
      strangers.push_back({path, kind + ", which is not read"});
    } else if (fs::is_directory(path, error)) {
      folders.push_back(path);
    } else if (has_volume_extension(path)) {
      look_at_volume(path);
    } else if (is_dicomdir(path)) {
      harmless.push_back({path, "a DICOM directory"});
    } else {
      look_into(path);
    }
  }

  // A slice under such a name would be missing unseen.
  void look_at_volume(const fs::path& path) {
    if (has_dicom_mark(path)) {
      damaged.push_back({.file = path.string(),
                         .what = "cannot read",
                         .found = "a DICOM file under the name of another format: a slice may be "
                                  "missing",
                         .fix = "rename it to .dcm or move it away"});
    } else {
      harmless.push_back({path, "a volume of its own, no slice", true});
    }
  }

  void look_into(const fs::path& path) {
    try {
      const FileStart start = read_file_start(path, kLookBytes);
      if (!DicomElements::is_dicom(start.bytes)) {
        strangers.push_back({path, describe_start(start.bytes) + ", no DICOM slice"});
        return;
      }
    } catch (const InputError& error) {
      unopened.push_back(error.fault());
      return;
    }
    try {
      slices.push_back(read_dicom_slice(path));
    } catch (const InputError& broken) {
      damaged.push_back(broken.fault());
    }
  }
};

std::set<std::string> extensions_of(const std::vector<DicomSlice>& slices) {
  std::set<std::string> extensions;
  for (const DicomSlice& slice : slices) extensions.insert(slice_extension(slice.file));
  return extensions;
}

// Without any DICOM file, only names that nothing else has tell of lost slices.
void sort_strangers(const Scan& scan, DicomFolder& content) {
  const std::set<std::string> extensions = extensions_of(scan.slices);
  const bool any_dicom = !scan.slices.empty() || !scan.damaged.empty();
  const auto may_be_lost = [&](const fs::path& file) {
    return any_dicom ? may_be_slice(file, extensions) : has_dicom_extension(file);
  };
  for (Fault fault : scan.unopened) {
    if (may_be_lost(fault.file)) {
      fault.found = "it cannot be opened (" + fault.found + "): a slice may be missing";
      content.doubtful.push_back(std::move(fault));
    } else {
      content.left_out.push_back(
          {fault.file, "it cannot be opened (" + printable(detail_of(fault)) + ")"});
    }
  }
  for (const LeftOut& stranger : scan.strangers) {
    if (may_be_lost(stranger.file)) {
      content.doubtful.push_back({.file = stranger.file.string(),
                                  .what = "cannot read",
                                  .found = stranger.reason + ": a slice may be missing",
                                  .fix = "get it again or move it away"});
    } else if (const std::string format = unread_format(stranger.file); !format.empty()) {
      content.left_out.push_back(
          {stranger.file, format + ", which is not read; convert it to .nii.gz", true});
    } else {
      content.left_out.push_back(stranger);
    }
  }
  for (const Fault& damaged : scan.damaged) content.doubtful.push_back(damaged);
  for (const LeftOut& file : scan.harmless) content.left_out.push_back(file);
}

// How many slices of the series lie below `folder` that do not lie beside it as well.
std::size_t slices_below(const fs::path& folder, const std::string& series,
                         const std::set<std::string>& known) {
  std::size_t count = 0;
  std::error_code error;
  fs::recursive_directory_iterator entry(folder, fs::directory_options::skip_permission_denied,
                                         error);
  for (const fs::recursive_directory_iterator end; !error && entry != end; entry.increment(error)) {
    if (entry.depth() >= kDeepest) entry.disable_recursion_pending();
    if (!is_dicom_file(entry->path()) || is_dicomdir(entry->path())) continue;
    try {
      const DicomSlice slice = read_dicom_slice(entry->path());
      count += slice.other_kind.empty() && slice.series_uid == series &&
               !known.contains(slice.instance_uid);
    } catch (const InputError&) {  // named where that folder is read
    }
  }
  return count;
}

void look_below(const std::vector<fs::path>& folders, DicomFolder& content) {
  std::set<std::string> known;
  for (const DicomSlice& slice : content.slices) known.insert(slice.instance_uid);
  for (const fs::path& folder : folders) {
    const std::size_t count =
        content.slices.empty() ? 0 : slices_below(folder, content.slices.front().series_uid, known);
    if (count == 0) {
      content.left_out.push_back({folder, "a folder of its own"});
    } else {
      content.doubtful.push_back(
          {.file = folder.string(),
           .what = "cannot read",
           .found = counted(count, "slice") + " of the series in a folder below",
           .fix = "move all slices of it into one folder"});
    }
  }
}

}  // namespace

DicomFolder read_dicom_folder(const fs::path& folder, const std::string& series) {
  Scan scan(folder);
  DicomFolder content;
  const bool any_dicom = !scan.slices.empty() || !scan.damaged.empty();
  sort_strangers(scan, content);
  choose_series({.slices = std::move(scan.slices), .folder = folder, .series = series}, content);
  if (!any_dicom && !content.fault)
    content.fault = {.file = folder.string(),
                     .what = "cannot read",
                     .found = "no DICOM file in the folder",
                     .fix = "name a folder of slices"};
  look_below(scan.folders, content);
  const auto by_file = [](const auto& a, const auto& b) {
    return fs::path(a.file) < fs::path(b.file);
  };
  std::sort(content.left_out.begin(), content.left_out.end(), by_file);
  std::sort(content.doubtful.begin(), content.doubtful.end(), by_file);
  return content;
}

void refuse_faults(const DicomFolder& content) {
  if (!content.doubtful.empty()) {
    Fault first = content.doubtful.front();
    std::vector<std::string> others;
    for (std::size_t i = 1; i < content.doubtful.size(); ++i)
      others.push_back(fs::path(content.doubtful[i].file).filename().string());
    if (!others.empty()) first.fix += " (likewise " + joined_first(others, kMostNamed - 1) + ")";
    throw InputError(std::move(first));
  }
  if (content.fault) throw InputError(*content.fault);
}

bool is_dicom_file(const fs::path& path) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return false;
  try {
    return DicomElements::is_dicom(read_file_start(path, kLookBytes).bytes);
  } catch (const InputError&) {
    return false;
  }
}

bool is_dicom_folder(const fs::path& path) {
  std::error_code error;
  for (fs::directory_iterator entry(path, error), end; !error && entry != end;
       entry.increment(error)) {
    if (has_volume_extension(entry->path()) || is_dicomdir(entry->path())) continue;
    if (has_dicom_extension(entry->path()) && !entry->is_directory(error)) return true;
    if (is_dicom_file(entry->path())) return true;
  }
  return false;
}

}  // namespace lamp
