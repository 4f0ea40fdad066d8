// Nothing of a file is believed before its checksum is right, and then still every length is held
// against the file's.
#include "lamp/cases/case_file.h"

#include <fcntl.h>
#include <libdeflate.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <torch/types.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <memory>
#include <utility>
#include <vector>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/json.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kFirstSection = 4 * kPage;  // the header ends before
constexpr std::uint64_t kMostHeaderBytes = 1 << 24;
constexpr std::array<char, 8> kMagic = {'L', 'A', 'M', 'P', 'C', 'A', 'S', 'E'};
constexpr std::pair<const char*, torch::ScalarType> kTypes[] = {{"uint8", torch::kUInt8},
                                                                {"int16", torch::kInt16},
                                                                {"int64", torch::kInt64},
                                                                {"float32", torch::kFloat32}};

struct Preamble {
  std::array<char, 8> magic = kMagic;
  std::uint32_t version = kCaseFileVersion;
  std::uint32_t header_crc = 0;
  std::uint64_t header_bytes = 0;
  std::uint64_t file_bytes = 0;
};
static_assert(sizeof(Preamble) == 32);

std::uint64_t page_after(std::uint64_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

std::string name_of(torch::ScalarType type) {
  const auto* found = std::find_if(std::begin(kTypes), std::end(kTypes),
                                   [&](const auto& entry) { return entry.second == type; });
  TORCH_CHECK(found != std::end(kTypes), "a case file holds no ", type);
  return found->first;
}

std::uint32_t crc_of(const void* bytes, std::size_t count, std::uint32_t before = 0) {
  return libdeflate_crc32(before, bytes, count);
}

// Without a way out: the cache finds one itself.
[[noreturn]] void refuse(const fs::path& path, Fault rest) {
  rest.file = path.string();
  rest.what = "a cached case that cannot be used";
  throw InputError(std::move(rest));
}

class Descriptor {
 public:
  explicit Descriptor(const fs::path& path)
      : path_(path), descriptor_(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    struct stat status {};
    if (descriptor_ < 0 || fstat(descriptor_, &status) != 0) {
      const int cause = errno;
      if (descriptor_ >= 0) close(descriptor_);
      refuse(path, {.found = std::strerror(cause)});
    }
    bytes_ = S_ISREG(status.st_mode) ? static_cast<std::uint64_t>(status.st_size) : 0;
  }
  ~Descriptor() { close(descriptor_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  std::uint64_t bytes() const { return bytes_; }

  void read(void* to, std::size_t count, std::uint64_t at) const {
    auto* next = static_cast<char*>(to);
    while (count > 0) {
      const ssize_t got = pread(descriptor_, next, count, static_cast<off_t>(at));
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) refuse(path_, {.found = got < 0 ? std::strerror(errno) : "it ends too early"});
      next += got;
      at += static_cast<std::uint64_t>(got);
      count -= static_cast<std::size_t>(got);
    }
  }

  // The whole file, read-only, until the last copy of the pointer is gone.
  std::shared_ptr<const std::byte> map() const {
    const std::size_t length = bytes_;
    void* start = mmap(nullptr, length, PROT_READ, MAP_SHARED, descriptor_, 0);
    if (start == MAP_FAILED) refuse(path_, {.found = std::strerror(errno)});
    return {static_cast<const std::byte*>(start),
            [length](const std::byte* p) { munmap(const_cast<std::byte*>(p), length); }};
  }

 private:
  const fs::path& path_;
  int descriptor_;
  std::uint64_t bytes_ = 0;
};

struct Section {
  torch::ScalarType type = torch::kUInt8;
  std::vector<std::int64_t> shape;
  std::uint64_t at = 0, bytes = 0;
  std::uint32_t crc = 0;
};

Section parse_section(const Json& json, std::uint64_t file_bytes, const fs::path& path) {
  Section section{.shape = json.at("shape").get<std::vector<std::int64_t>>(),
                  .at = json.at("at").get<std::uint64_t>(),
                  .crc = json.at("crc").get<std::uint32_t>()};
  bool known = false;
  for (const auto& [name, type] : kTypes)
    if (json.at("type") == name) known = true, section.type = type;
  section.bytes = torch::elementSize(section.type);
  for (const std::int64_t side : section.shape) {
    if (side < 0 || static_cast<std::uint64_t>(side) > file_bytes)
      refuse(path, {.found = "impossible sizes"});
    section.bytes *= static_cast<std::uint64_t>(side);
    if (section.bytes > file_bytes) refuse(path, {.found = "impossible sizes"});
  }
  if (!known || section.at % kPage != 0 || section.at > file_bytes ||
      section.bytes > file_bytes - section.at)
    refuse(path, {.found = "impossible sizes"});
  return section;
}

Json read_header(const Descriptor& file, const fs::path& path) {
  Preamble preamble;
  if (file.bytes() < sizeof(preamble))
    refuse(path,
           {.found = std::to_string(file.bytes()) + " bytes", .expected = "at least a header"});
  file.read(&preamble, sizeof(preamble), 0);
  if (preamble.magic != kMagic) refuse(path, {.found = "it does not begin like one"});
  if (preamble.version != kCaseFileVersion)
    refuse(path, {.found = "version " + std::to_string(preamble.version),
                  .expected = std::to_string(kCaseFileVersion)});
  if (preamble.file_bytes != file.bytes())
    refuse(path, {.found = std::to_string(file.bytes()) + " bytes",
                  .expected = std::to_string(preamble.file_bytes)});
  if (preamble.header_bytes > std::min(kMostHeaderBytes, file.bytes() - sizeof(preamble)))
    refuse(path, {.found = "a header that is too long"});
  std::string text(preamble.header_bytes, '\0');
  file.read(text.data(), text.size(), sizeof(preamble));
  if (crc_of(text.data(), text.size()) != preamble.header_crc)
    refuse(path, {.found = "the checksum of its header is wrong"});
  return parse_json(text, path.string());
}

void check_sum(const Descriptor& file, const Section& section, const fs::path& path) {
  std::vector<char> buffer(std::min<std::uint64_t>(section.bytes, 1 << 20));
  std::uint32_t crc = 0;
  for (std::uint64_t done = 0; done < section.bytes;) {
    const std::uint64_t part = std::min<std::uint64_t>(buffer.size(), section.bytes - done);
    file.read(buffer.data(), part, section.at + done);
    crc = crc_of(buffer.data(), part, crc);
    done += part;
  }
  if (crc != section.crc) refuse(path, {.found = "a checksum is wrong"});
}

torch::Tensor view_of(const std::shared_ptr<const std::byte>& mapping, const Section& section) {
  if (section.bytes == 0) return torch::empty(section.shape, section.type);
  // torch knows no constant tensors.
  auto* start = const_cast<std::byte*>(mapping.get() + section.at);
  return torch::from_blob(
      start, section.shape, [mapping](void*) {}, section.type);
}

std::vector<torch::Tensor> split_foreground(const torch::Tensor& all,
                                            const std::vector<std::int64_t>& counts) {
  std::vector<torch::Tensor> parts;
  std::int64_t first = 0;
  for (const std::int64_t count : counts) {
    parts.push_back(all.narrow(0, first, count));
    first += count;
  }
  TORCH_CHECK(first == all.numel(), first, " foreground indices of ", all.numel());
  return parts;
}

TrainingCase case_of(const Json& header, const std::vector<Section>& sections,
                     const std::shared_ptr<const std::byte>& mapping) {
  TrainingCase sample{.stored = view_of(mapping, sections[0]),
                      .label = view_of(mapping, sections[1]),
                      .voxel_counts = header.at("voxel_counts").get<std::vector<std::int64_t>>(),
                      .intensities = view_of(mapping, sections[3]),
                      .mapped = true};
  sample.code.offset = header.at("offset").get<double>();
  if (!header.at("window").is_null())
    sample.code.window = header.at("window").get<std::array<double, 2>>();
  sample.foreground = split_foreground(view_of(mapping, sections[2]),
                                       header.at("foreground").get<std::vector<std::int64_t>>());
  TORCH_CHECK(sample.stored.dim() == 4 && sample.stored.sizes().slice(1) == sample.label.sizes() &&
                  sample.foreground.size() == sample.voxel_counts.size(),
              "parts that do not belong together");
  return sample;
}

}  // namespace

void write_case_file(const fs::path& path, const std::string& key, const TrainingCase& sample) {
  std::vector<torch::Tensor> foreground = {torch::empty({0}, torch::kLong)};
  Json counts = Json::array();
  for (const torch::Tensor& voxels : sample.foreground) {
    foreground.push_back(voxels);
    counts.push_back(voxels.numel());
  }
  const std::array<torch::Tensor, 4> parts = {
      sample.stored.contiguous(), sample.label.contiguous(), torch::cat(foreground),
      sample.intensities.defined() ? sample.intensities.contiguous()
                                   : torch::empty({0}, torch::kLong)};
  Json header = {{"key", key},
                 {"offset", sample.code.offset},
                 {"window", sample.code.window ? Json(*sample.code.window) : Json()},
                 {"voxel_counts", sample.voxel_counts},
                 {"foreground", counts},
                 {"sections", Json::array()}};
  std::uint64_t at = kFirstSection;
  for (const torch::Tensor& part : parts) {
    header["sections"].push_back({{"type", name_of(part.scalar_type())},
                                  {"shape", part.sizes().vec()},
                                  {"at", at},
                                  {"crc", crc_of(part.const_data_ptr(), part.nbytes())}});
    at = page_after(at + part.nbytes());
  }
  const std::string text = header.dump();
  if (sizeof(Preamble) + text.size() > kFirstSection)
    throw Error("cannot write: " + path.string() + ": too many labels for a case file");
  const Preamble preamble{.header_crc = crc_of(text.data(), text.size()),
                          .header_bytes = text.size(),
                          .file_bytes = at};
  AtomicFile file(path);
  std::uint64_t written = 0;
  const auto add = [&](const void* bytes, std::size_t count) {
    file.write(bytes, count);
    written += count;
  };
  const auto fill_to = [&](std::uint64_t end) {
    const std::string zeros(end - written, '\0');
    add(zeros.data(), zeros.size());
  };
  add(&preamble, sizeof(preamble));
  add(text.data(), text.size());
  fill_to(kFirstSection);
  for (const torch::Tensor& part : parts) {
    add(part.const_data_ptr(), part.nbytes());
    fill_to(page_after(written));
  }
  // Its checksums tell whether it survived a crash, so that nobody waits for the disk.
  file.commit(AtomicFile::kWithoutSync);
}

TrainingCase map_case_file(const fs::path& path, const std::string& key) {
  const Descriptor file(path);
  const Json header = read_header(file, path);
  try {
    if (header.at("key") != key) refuse(path, {.found = "it was made from something else"});
    std::vector<Section> sections;
    for (const Json& section : header.at("sections"))
      sections.push_back(parse_section(section, file.bytes(), path));
    if (sections.size() != 4) refuse(path, {.found = "missing parts"});
    for (const Section& section : sections) check_sum(file, section, path);
    return case_of(header, sections, file.map());
  } catch (const nlohmann::json::exception& error) {
    refuse(path, {.found = error.what()});
  } catch (const c10::Error& error) {
    refuse(path, {.found = error.what_without_backtrace()});
  }
}

std::int64_t case_file_bytes(const TrainingCase& sample) {
  std::size_t indices = 0;
  for (const torch::Tensor& voxels : sample.foreground) indices += voxels.nbytes();
  const std::size_t counted = sample.intensities.defined() ? sample.intensities.nbytes() : 0;
  return static_cast<std::int64_t>(kFirstSection + page_after(sample.stored.nbytes()) +
                                   page_after(sample.label.nbytes()) + page_after(indices) +
                                   page_after(counted));
}

}  // namespace lamp
