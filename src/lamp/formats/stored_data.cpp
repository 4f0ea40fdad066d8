// Sizes first, then bytes.
#include "lamp/formats/stored_data.h"

#include <algorithm>

#include "lamp/base/errors.h"
#include "lamp/base/regular_file.h"
#include "lamp/base/safe_path.h"
#include "lamp/base/text.h"
#include "lamp/formats/gzip.h"
#include "lamp/volume/grid_check.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

[[noreturn]] void refuse_length(std::int64_t found, std::int64_t expected, const fs::path& path) {
  cannot_read(path,
              {.found = std::to_string(found) + " bytes of voxels",
               .expected = std::to_string(expected) + (found < expected ? ": it is cut short" : ""),
               .fix = "get the file again"});
}

[[noreturn]] void refuse_packed(std::int64_t found, const StoredData& data, const fs::path& path) {
  cannot_read(path, {.found = std::to_string(found) + " bytes of compressed voxels",
                     .expected = std::to_string(data.packed) + " by its header" +
                                 (found < data.packed ? ": it is cut short" : ""),
                     .fix = "get the file again"});
}

// Zeros behind them are padding.
void refuse_more_packed(const std::string& stored, const StoredData& data, const fs::path& path) {
  const auto most = static_cast<std::size_t>(data.packed + data.packed_rounding);
  if (data.packed > 0 && stored.size() > most &&
      stored.find_first_not_of('\0', most) != std::string::npos)
    refuse_packed(static_cast<std::int64_t>(stored.size()), data, path);
}

RegularFile open_data(const StoredData& data, const fs::path& path) {
  try {
    return RegularFile(data.file);
  } catch (const InputError& error) {
    if (data.file == path) throw;
    Fault fault = error.fault();
    fault.found =
        "the file of its voxels, " + data.file.string() + ", cannot be read: " + fault.found;
    cannot_read(path, std::move(fault));
  }
}

fs::path folder_of(const fs::path& file) {
  return file.has_parent_path() ? file.parent_path() : fs::path(".");
}

}  // namespace

bool names_several_files(const std::string& name) {
  const auto parts = words(name);
  if (!parts.empty() && lower(std::string(parts.front())) == "list") return true;
  const std::size_t percent = name.find('%');
  if (percent == std::string::npos) return false;
  const std::size_t type = name.find_first_not_of("0123456789", percent + 1);
  return type != std::string::npos && name[type] == 'd';
}

fs::path detached_file(const TextHeader& header, const std::string& name) {
  if (name.empty())
    header.refuse({.found = "it names no file for its voxels", .fix = "correct the header"});
  if (names_several_files(name))
    header.refuse({.found = "its voxels lie in several files (" + in_quotes(name) + ")",
                   .expected = "one",
                   .fix = "save the image as one file, such as .nrrd, .mha or .nii.gz"});
  const bool text = std::all_of(name.begin(), name.end(), [](char c) {
    return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f;
  });
  if (!text)
    header.refuse({.found = "its voxels' file " + in_quotes(name) + " is no name of a file",
                   .fix = "correct the header"});
  const fs::path file = header.path().parent_path() / name;
  std::error_code error;
  const fs::path target = fs::canonical(header.path(), error);  // the header may itself be a link
  if (lies_inside(folder_of(header.path()), file) ||
      (!error && lies_inside(target.parent_path(), file)))
    return file;
  header.refuse({.found = "it names " + in_quotes(name) +
                          " for its voxels, which leads out of its own folder",
                 .fix = "put the file beside the header and name it without a folder"});
}

std::int64_t claimed_bytes(const TextHeader& header, std::vector<std::int64_t> sizes,
                           std::int64_t element) {
  if (sizes.empty())
    header.refuse(
        {.found = "its header gives no sizes", .fix = "the header is damaged, get the file again"});
  sizes.push_back(element);
  const auto bytes = checked_product(sizes);
  if (!bytes || *bytes == 0)
    header.refuse({.found = "its header gives impossible sizes",
                   .fix = "the header is damaged, get the file again"});
  return *bytes;
}

std::int64_t check_stored_size(const StoredData& data, const fs::path& path) {
  const std::int64_t found = open_data(data, path).size() - data.offset;
  if (data.encoding == Encoding::kRaw) {
    if (found != data.bytes) refuse_length(found, data.bytes, path);
    return found;
  }
  if (found < data.packed - data.packed_rounding) refuse_packed(found, data, path);
  const std::int64_t most = most_expanded(std::max<std::int64_t>(0, found));
  if (data.bytes > most) {
    cannot_read(path, {.found = "its header claims " + std::to_string(data.bytes) +
                                " bytes of voxels, but the file cannot hold more than " +
                                std::to_string(most) + ": it is cut short or its header is damaged",
                       .fix = "get the file again"});
  }
  return found;
}

std::string read_stored_data(const StoredData& data, const fs::path& path) {
  const auto count = static_cast<std::size_t>(check_stored_size(data, path));
  std::string stored(count, '\0');
  open_data(data, path).read(data.offset, count, stored.data());
  if (data.encoding == Encoding::kRaw) return stored;
  refuse_more_packed(stored, data, path);
  std::string voxels(static_cast<std::size_t>(data.bytes), '\0');
  const auto found = static_cast<std::int64_t>(decompress(
      {.format = data.encoding == Encoding::kGzip ? Compression::kGzip : Compression::kZlib,
       .bytes = stored,
       .out = voxels.data(),
       .capacity = voxels.size()},
      path.string()));
  if (found != data.bytes) refuse_length(found, data.bytes, path);
  return voxels;
}

}  // namespace lamp
