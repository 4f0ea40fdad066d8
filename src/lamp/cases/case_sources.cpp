// Stat first, digest second, so that a change in between shows at the next stat.
#include "lamp/cases/case_sources.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <chrono>

#include "lamp/base/files.h"
#include "lamp/base/regular_file.h"
#include "lamp/base/sha256.h"
#include "lamp/formats/stored_volume.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

constexpr std::int64_t kSettledNs = 2'000'000'000;

std::int64_t nanoseconds(const timespec& time) {
  return static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

FileState state_of(const std::string& path) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) throw InputError(unreadable(path, errno));
  return {.path = path,
          .bytes = static_cast<std::uint64_t>(status.st_size),
          .inode = status.st_ino,
          .mtime_ns = nanoseconds(status.st_mtim),
          .ctime_ns = nanoseconds(status.st_ctim)};
}

std::string digest_of(const std::string& path) {
  constexpr std::int64_t kChunk = 1 << 20;
  const RegularFile in(path);
  Sha256 hash;
  std::string chunk;
  for (std::int64_t at = 0; at < in.size(); at += kChunk) {
    chunk.resize(static_cast<std::size_t>(std::min(kChunk, in.size() - at)));
    in.read(at, chunk.size(), chunk.data());
    hash.add(chunk);
  }
  return hash.hex();
}

std::vector<fs::path> files_of(const fs::path& path) {
  std::vector<fs::path> files;
  if (std::error_code error; fs::is_directory(path, error)) {
    for (const auto& entry : fs::directory_iterator(path))
      if (entry.is_regular_file()) files.push_back(entry.path());
    std::sort(files.begin(), files.end());
    return files;
  }
  std::string extension = path.extension().string();
  for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  files.push_back(path);
  constexpr std::array kTextHeaders = {".nrrd", ".nhdr", ".mha", ".mhd"};
  if (std::find(kTextHeaders.begin(), kTextHeaders.end(), extension) == kTextHeaders.end())
    return files;
  if (const fs::path data = voxel_file(path); data != path) files.push_back(data);
  return files;
}

Json to_json(const FileState& file, const std::string& digest) {
  return {{"path", file.path},         {"bytes", file.bytes},       {"inode", file.inode},
          {"mtime_ns", file.mtime_ns}, {"ctime_ns", file.ctime_ns}, {"sha256", digest}};
}

// Fills in the digests of files that have not changed since `rows` were written.
void take_known(const std::vector<FileState>& files, const Json& rows,
                std::vector<std::string>& digests) {
  if (!rows.is_array()) return;
  for (std::size_t i = 0; i < files.size() && i < rows.size(); ++i) {
    if (!digests[i].empty() || !rows[i].is_object()) continue;
    const Json digest = rows[i].value("sha256", Json());
    if (digest.is_string() && rows[i] == to_json(files[i], digest.get<std::string>()))
      digests[i] = digest.get<std::string>();
  }
}

Json read_stamp(const fs::path& stamp) {
  std::error_code error;
  if (stamp.empty() || !fs::is_regular_file(stamp, error)) return {};
  try {
    return parse_json(read_file(stamp), stamp.string());
  } catch (const std::exception&) {  // a damaged stamp is no stamp
    return {};
  }
}

void write_stamp(const fs::path& stamp, const std::string& text) {
  try {
    AtomicFile file(stamp);
    file.write(text);
    file.commit(AtomicFile::kWithoutSync);
  } catch (const Error&) {  // the next start will read the files again
  }
}

std::int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

bool settled(const FileState& file, std::int64_t now) {
  return std::max(file.mtime_ns, file.ctime_ns) + kSettledNs < now;
}

// Every file that is read for each image and, last, for the label: a DICOM folder's, and the voxels
// that a text header names. Throws InputError for what is not there.
std::vector<std::vector<fs::path>> source_files(const Case& entry) {
  std::vector<std::vector<fs::path>> files;
  for (const fs::path& image : entry.images) files.push_back(files_of(image));
  files.push_back(files_of(entry.label));
  return files;
}

}  // namespace

bool CaseSources::unchanged() const {
  try {
    return std::all_of(files.begin(), files.end(),
                       [](const FileState& file) { return state_of(file.path) == file; });
  } catch (const InputError&) {  // gone
    return false;
  }
}

fs::path stamp_path(const fs::path& folder, const Case& entry) {
  std::string names;
  for (const fs::path& image : entry.images) names += fs::absolute(image).string() + "\n";
  return folder / (sha256(names + fs::absolute(entry.label).string()).substr(0, 32) + ".stamp");
}

Json remembered_files(const CaseSources& sources) {
  Json rows = Json::array();
  const std::int64_t now = now_ns();
  for (std::size_t i = 0; i < sources.files.size(); ++i) {
    FileState file = sources.files[i];
    if (!settled(file, now)) file.mtime_ns = file.ctime_ns = 0;
    rows.push_back(to_json(file, sources.digests[i]));
  }
  return rows;
}

CaseSources read_case_sources(const Case& entry, const fs::path& stamp, const Json& known) {
  CaseSources sources;
  std::vector<std::size_t> roles;
  const auto parts = source_files(entry);
  for (std::size_t role = 0; role < parts.size(); ++role) {
    for (const fs::path& file : parts[role]) {
      sources.files.push_back(state_of(fs::absolute(file).string()));
      roles.push_back(role);
    }
  }
  const std::int64_t now = now_ns();
  std::vector<std::string>& digests = sources.digests;
  digests.resize(sources.files.size());
  take_known(sources.files, read_stamp(stamp), digests);
  bool fresh = false, all_settled = true;
  if (std::find(digests.begin(), digests.end(), "") != digests.end()) {
    take_known(sources.files, known, digests);
    fresh = true;
  }
  std::string text;
  Json rows = Json::array();
  for (std::size_t i = 0; i < digests.size(); ++i) {
    all_settled &= settled(sources.files[i], now);
    if (digests[i].empty()) digests[i] = digest_of(sources.files[i].path);
    text += std::to_string(roles[i]) + " " + digests[i] + "\n";
    rows.push_back(to_json(sources.files[i], digests[i]));
  }
  sources.digest = sha256(text);
  if (fresh && all_settled && !stamp.empty() && sources.unchanged())
    write_stamp(stamp, rows.dump());
  return sources;
}

}  // namespace lamp
