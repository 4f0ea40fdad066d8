// One look at every entry; only folders and DICOM files are opened.
#include "lamp/formats/folder_content.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <set>
#include <system_error>
#include <utility>

#include "lamp/base/errors.h"
#include "lamp/base/text.h"
#include "lamp/formats/dicom_folder.h"
#include "lamp/formats/file_start.h"
#include "lamp/formats/volume_names.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

constexpr int kDeepestSearch = 4;  // levels below a folder are searched for volumes
constexpr std::size_t kMostFolders = 1000;

std::vector<fs::path> entries_of(const fs::path& folder) {
  std::vector<fs::path> entries;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error))
    entries.push_back(entry->path());
  if (error) throw InputError(unreadable(folder.string(), error.value()));
  std::sort(entries.begin(), entries.end());
  return entries;
}

bool is_hidden(const fs::path& path) { return path.filename().string().starts_with('.'); }

void append_folders(const fs::path& parent, std::vector<fs::path>& folders) {
  std::vector<fs::path> found;
  std::error_code error;
  for (fs::directory_iterator entry(parent, error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code unknown;
    if (!is_hidden(entry->path()) && !entry->is_symlink(unknown) && entry->is_directory(unknown))
      found.push_back(entry->path());
  }
  std::sort(found.begin(), found.end());
  folders.insert(folders.end(), found.begin(), found.end());
}

bool holds_volumes(const fs::path& folder) {
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code unknown;
    if (has_volume_extension(entry->path()) && !is_hidden(entry->path()) &&
        entry->is_regular_file(unknown))
      return true;
  }
  return is_dicom_folder(folder);
}

// Does a link lead to `folder` or a folder above it?
bool leads_above(const fs::path& link, const fs::path& folder) {
  std::error_code error;
  const fs::path target = fs::canonical(link, error), here = fs::canonical(folder, error);
  if (error) return false;
  const auto [end, rest] = std::mismatch(target.begin(), target.end(), here.begin(), here.end());
  return end == target.end();
}

// The slices of one series in one folder.
struct SeriesPart {
  fs::path folder;
  DicomSlice first;
  std::set<std::int64_t> places;  // in thousandths of a mm
};

SeriesPart part_of(const fs::path& folder, const std::vector<DicomSlice>& slices) {
  SeriesPart part{.folder = folder, .first = slices.front()};
  for (const DicomSlice& slice : slices) part.places.insert(std::llround(slice.position_mm * 1000));
  return part;
}

// Slices of one orientation at other places: the rest of the volume. At the same places they are
// another phase.
bool complete_each_other(const SeriesPart& a, const SeriesPart& b) {
  if (a.first.plane.direction != b.first.plane.direction) return false;
  return std::none_of(a.places.begin(), a.places.end(),
                      [&](std::int64_t place) { return b.places.contains(place); });
}

class Lister {
 public:
  Lister(const fs::path& folder, const std::string& series) : folder_(folder), series_(series) {
    const std::vector<fs::path> entries = entries_of(folder);
    const bool slices = is_dicom_folder(folder);
    if (slices) add_dicom(folder);
    for (const fs::path& entry : entries) note_data_files(entry);
    for (const fs::path& entry : entries) add(entry, slices);
    std::sort(content_.volumes.begin(), content_.volumes.end());
    std::sort(content_.left_out.begin(), content_.left_out.end(),
              [](const LeftOut& a, const LeftOut& b) { return a.file < b.file; });
  }

  FolderContent take() { return std::move(content_); }

 private:
  void leave_out(const fs::path& file, const std::string& reason, bool is_image = false) {
    content_.left_out.push_back({file, reason, is_image});
  }

  void add(const fs::path& entry, bool beside_slices) {
    std::error_code error;
    if (fs::is_directory(entry, error)) return add_folder(entry);
    const std::string special = special_kind(entry);
    if (has_volume_extension(entry) && special.empty() && !is_hidden(entry)) {
      content_.volumes.push_back(entry);
    } else if (has_volume_extension(entry) || !beside_slices) {
      add_other(entry, special);
    }  // what else lies beside slices is accounted for with them
  }

  void add_other(const fs::path& entry, const std::string& special) {
    if (data_files_.contains(entry.filename().string())) return;
    const std::string format = unread_format(entry);
    if (!special.empty()) {
      leave_out(entry, special + ", which is not read", has_volume_extension(entry));
    } else if (is_hidden(entry)) {
      leave_out(entry, "a hidden file");
    } else if (!format.empty()) {
      leave_out(entry, format + ", which is not read; convert it to .nii.gz", true);
    } else {
      leave_out(entry, "no volume");
    }
  }

  void add_folder(const fs::path& entry) {
    std::error_code error;
    if (is_hidden(entry)) return leave_out(entry, "a hidden folder");
    if (fs::is_symlink(entry, error) && leads_above(entry, folder_))
      return leave_out(entry, "a link to a folder above");
    if (is_dicom_folder(entry)) return add_dicom(entry);
    bool any = false;
    for (fs::directory_iterator file(entry, error), end; !error && file != end;
         file.increment(error)) {
      std::error_code ignored;
      any |= has_volume_extension(file->path()) || file->is_directory(ignored);
    }
    if (error) return leave_out(entry, "it cannot be opened (" + error.message() + ")", true);
    leave_out(entry,
              any ? "a folder without DICOM slices of its own; name it to take what is in it"
                  : "a folder without volumes",
              any);
  }

  void add_dicom(const fs::path& folder) {
    DicomFolder dicom;
    try {
      dicom = read_dicom_folder(folder, series_);
    } catch (const InputError&) {  // said when it is read
      content_.volumes.push_back(folder);
      return;
    }
    if (dicom.holds_no_image()) {
      leave_out(folder, detail_of(*dicom.fault));
    } else {
      content_.volumes.push_back(folder);
    }
    std::error_code error;
    for (const LeftOut& file : dicom.left_out) {
      const bool own_entry = folder == folder_ && (fs::is_directory(file.file, error) ||
                                                   has_volume_extension(file.file));
      if (!own_entry) content_.left_out.push_back(file);
    }
    if (!dicom.slices.empty() && folder != folder_) compare_parts(folder, dicom.slices);
  }

  void compare_parts(const fs::path& folder, const std::vector<DicomSlice>& slices) {
    const SeriesPart part = part_of(folder, slices);
    const auto [other, is_new] = parts_.emplace(slices.front().series_uid, part);
    if (is_new || !complete_each_other(part, other->second)) return;
    content_.torn.push_back({.file = folder.string(),
                             .what = "a DICOM series in several folders",
                             .found = "slices that complete those of " +
                                      other->second.folder.string() + " (one series, other places)",
                             .expected = "one folder a series",
                             .fix = "move all slices of a series into one folder"});
  }

  // The voxels of "a.mhd" lie in "a.raw", "a.zraw" or "a.raw.gz", and so do those of "a.nhdr".
  void note_data_files(const fs::path& header) {
    const std::string extension = volume_extension(header);
    if (extension != ".mhd" && extension != ".nhdr") return;
    for (const char* data : {".raw", ".zraw", ".raw.gz", ".img"})
      data_files_.insert(case_name(header) + data);
  }

  const fs::path folder_;
  const std::string series_;
  std::set<std::string> data_files_;
  std::map<std::string, SeriesPart> parts_;  // by series
  FolderContent content_;
};

}  // namespace

FolderContent list_folder(const fs::path& folder, const std::string& series) {
  return Lister(folder, series).take();
}

fs::path folder_of_volumes_below(const fs::path& folder) {
  std::vector<fs::path> level = {folder};
  std::size_t seen = 0;
  for (int depth = 0; depth < kDeepestSearch; ++depth) {
    std::vector<fs::path> below;
    for (const fs::path& parent : level) append_folders(parent, below);
    for (const fs::path& place : below) {
      if (++seen > kMostFolders) return {};
      if (holds_volumes(place)) return place;
    }
    level = std::move(below);
  }
  return {};
}

Fault no_volume_fault(const FolderContent& content, const fs::path& folder) {
  Fault fault{.file = folder.string(),
              .what = "no volume",
              .found = "an empty folder",
              .expected = kReadFormats,
              .fix = "check the path"};
  if (content.left_out.empty()) return fault;
  const LeftOut& first = content.left_out.front();
  fault.found = counted(content.left_out.size(), "entry") + " (such as " +
                first.file.filename().string() + ": " + first.reason + ") but no volume";
  fs::path meant = folder_of_volumes_below(folder);
  for (const char* name : {"imagesTr", "imagesTs"})  // the latter before all
    if (std::error_code error; fs::is_directory(folder / name, error)) meant = folder / name;
  if (!meant.empty()) fault.fix = "did you mean " + meant.string() + "?";
  return fault;
}

fs::path entry_place(const fs::path& path) {
  std::error_code error;
  const fs::path entry = path.filename().empty() ? path.parent_path() : path;  // "folder/"
  const fs::path name = entry.filename();
  if (name.empty() || name == "." || name == "..") return fs::weakly_canonical(path, error);
  return fs::weakly_canonical(fs::absolute(entry, error).parent_path(), error) / name;
}

}  // namespace lamp
