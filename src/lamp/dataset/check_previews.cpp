// Names are settled, and older pictures gone, before the first case is read.
#include "lamp/dataset/check_previews.h"

#include <set>
#include <string>
#include <system_error>
#include <vector>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/setting_name.h"
#include "lamp/preview/png.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

// The pictures in it. A folder of pictures is told from a folder of somebody's by what is in it.
std::vector<fs::path> pictures_in(const fs::path& folder) {
  std::vector<fs::path> pictures;
  std::error_code error;
  const auto status = fs::status(folder, error);
  if (!fs::exists(status)) return pictures;
  const auto refuse = [&](const std::string& found) {
    throw UsageError(setting_name("preview") + ": " + folder.string() + ": found " + found +
                     ", expected a new or empty folder, or one that holds nothing but pictures of "
                     "LAMP's; choose another one");
  };
  if (!fs::is_directory(status)) refuse("a file");
  const OwnTest is_own = own_png();
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    if (is_temporary_name(at->path()) || is_lock_file(at->path())) continue;  // a killed call's
    std::error_code unseen;
    if (!fs::is_regular_file(at->symlink_status(unseen)) || !is_own(at->path()))
      refuse(at->path().filename().string() + " in it");
    pictures.push_back(at->path());
  }
  if (error)
    throw Error("cannot read: " + folder.string() + ": " + error.message() +
                "; choose another folder");
  return pictures;
}

}  // namespace

CheckPreviews::CheckPreviews(const fs::path& folder, const std::vector<PlacedCase>& cases) {
  if (folder.empty()) return;
  pictures_in(folder);  // refuses all others before anything is written
  std::set<std::string> taken;
  for (const PlacedCase& place : cases) {
    std::string name = place.entry->name;  // a test case may be named like one of training
    for (int n = 2; !taken.insert(name).second; ++n)
      name = place.entry->name + "_" + std::to_string(n);
    files_.push_back(folder / (name + ".png"));
    outputs_.add({setting_name("preview"), files_.back(), own_png()});
    for (const fs::path& image : place.entry->images) outputs_.protect(image);
    if (!place.entry->label.empty()) outputs_.protect(place.entry->label);
  }
  outputs_.check();
  lock_.emplace(folder);
  const std::vector<fs::path> older = pictures_in(folder);
  lock_->start();
  for (const fs::path& picture : older) {
    std::error_code error;
    fs::remove(picture, error);
    if (error) throw Error("cannot remove: " + picture.string() + ": " + error.message());
  }
  outputs_.make_folders();
  remove_stale_temporaries(folder);
}

void CheckPreviews::draw(std::size_t i, const CaseMaps& maps) const {
  if (!wanted() || maps.geometry.voxels() == 0) return;
  const std::string png = case_png(maps);
  outputs_.confirm(files_[i]);
  write_file(files_[i], png);
}

}  // namespace lamp
