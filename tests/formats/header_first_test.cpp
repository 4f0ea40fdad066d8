// A header is judged before memory is taken for what it claims, only regular files are opened, and
// a header leads to no file outside its own folder.
#include <gmock/gmock.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>

#include "formats/nifti_samples.h"
#include "formats/text_volume_samples.h"
#include "lamp/base/host_memory.h"
#include "lamp/formats/gzip.h"
#include "lamp/formats/raw_volume.h"

namespace lamp {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using testing::expect_refused;
using ::testing::HasSubstr;
using testing::meta_fields;
using testing::nrrd_fields;

class HeaderFirstTest : public NiftiSamples {
 protected:
  // Reading, in whatever way, ends at once and in DoesNotFit that names the file.
  void expect_too_large(const fs::path& path, const std::string& part) {
    const auto start = std::chrono::steady_clock::now();
    const std::int64_t before = resident_bytes();
    for (const bool label : {false, true}) {
      try {
        label ? read_label(path) : read_image(path);
        ADD_FAILURE() << path << " was read";
      } catch (const DoesNotFit& error) {
        EXPECT_EQ(error.exit_code(), 5);
        EXPECT_THAT(error.what(),
                    AllOf(HasSubstr(path.string()), HasSubstr(part), HasSubstr("are available")));
      } catch (const std::exception& other) {
        ADD_FAILURE() << other.what();
      }
    }
    EXPECT_NO_THROW(read_volume_header(path));
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(2));
    EXPECT_LT(resident_bytes() - before, 100 << 20);
  }
  // A file whose end is a hole: it claims space, but takes none.
  fs::path sparse(const std::string& name, const std::string& start, std::int64_t size) {
    const fs::path path = file(start, name);
    fs::resize_file(path, static_cast<std::uintmax_t>(size));
    return path;
  }
};

constexpr std::int64_t kSide = 12000;  // 12000^3 bytes: more than any machine's memory
constexpr std::int64_t kCube = kSide * kSide * kSide;

TEST_F(HeaderFirstTest, ReadingKeepsBelowWhatItIsGiven) {
  write_volume(folder_ / "a.nii.gz", sample());  // 24 x 20 x 16 of int16: 6 bytes a voxel to read
  constexpr std::int64_t kNeeded = 6 * 24 * 20 * 16;
  EXPECT_NO_THROW(read_image(folder_ / "a.nii.gz", {.memory_bytes = kNeeded}));
  try {
    read_image(folder_ / "a.nii.gz", {.memory_bytes = kNeeded - 1});
    ADD_FAILURE() << "was read";
  } catch (const DoesNotFit& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("a.nii.gz"), HasSubstr("give more")));
  }
}

TEST_F(HeaderFirstTest, ACubeLargerThanTheMemoryIsNotRead) {
  std::string nifti = bytes_of_file(straight());
  for (int axis = 1; axis <= 3; ++axis)
    nifti = changed<std::int16_t>(nifti, kDim + 2 * axis, kSide);
  nifti = changed<std::int16_t>(changed<std::int16_t>(nifti, kDatatype, 2), kBitpix, 8);
  nifti.resize(352);
  expect_too_large(sparse("a.nii", nifti, 352 + kCube), "12000x12000x12000 voxels");

  const std::string sizes = "12000 12000 12000";
  const std::string nrrd = nrrd_fields().with("sizes", sizes).with("type", "uchar").text() + "\n";
  expect_too_large(sparse("a.nrrd", nrrd, static_cast<std::int64_t>(nrrd.size()) + kCube), "GiB");
  const std::string meta =
      meta_fields().with("DimSize", sizes).with("ElementType", "MET_UCHAR").text();
  expect_too_large(sparse("a.mha", meta, static_cast<std::int64_t>(meta.size()) + kCube), "GiB");
  sparse("voxels.raw", "", kCube);
  expect_too_large(file(nrrd_fields().with("sizes", sizes).with("type", "uchar").text() +
                            "data file: voxels.raw\n",
                        "a.nhdr"),
                   "GiB");
}

// A compressed file of this size can hold so much: only the memory says no.
TEST_F(HeaderFirstTest, ACompressedFileIsAskedBeforeItIsUnpacked) {
  std::string nifti = bytes_of_file(straight());
  for (int axis = 1; axis <= 3; ++axis)
    nifti = changed<std::int16_t>(nifti, kDim + 2 * axis, kSide);
  nifti = changed<std::int16_t>(changed<std::int16_t>(nifti, kDatatype, 2), kBitpix, 8);
  const std::int64_t packed = kCube / kMaxExpansion + 100000;
  expect_too_large(sparse("a.nii.gz", gzip(nifti, 1), packed), "12000x12000x12000 voxels");
  const std::string sizes = "12000 12000 12000";
  expect_too_large(
      sparse(
          "a.nrrd",
          nrrd_fields().with("sizes", sizes).with("type", "uchar").with("encoding", "gzip").text() +
              "\n" + gzip("voxels", 1),
          packed),
      "12000x12000x12000 voxels");
  expect_too_large(sparse("a.mha",
                          meta_fields()
                              .with("DimSize", sizes)
                              .with("ElementType", "MET_UCHAR")
                              .with("CompressedData", "True")
                              .text(),
                          packed),
                   "12000x12000x12000 voxels");
}

TEST_F(HeaderFirstTest, AFileOfAnotherSizeThanItsHeaderSaysIsNotRead) {
  const std::int64_t before = resident_bytes();
  const std::string nifti = bytes_of_file(straight());
  // Nearly all of it lies behind the last voxel, or is not there.
  expect_refused([&] { read_image(sparse("a.nii", nifti, std::int64_t{1} << 40)); },
                 "behind its last voxel");
  expect_refused([&] { read_image(sparse("a.nrrd", nrrd_fields().text() + "\n", 1LL << 40)); },
                 "expected 48");
  expect_refused([&] { read_image(sparse("a.mha", meta_fields().text(), 1LL << 40)); },
                 "expected 48");
  for (const auto& [name, start] :
       {std::pair{"b.nrrd", nrrd_fields().with("sizes", "30000 30000 30000").text() + "\n"},
        std::pair{"b.mha", meta_fields().with("DimSize", "30000 30000 30000").text()}})
    expect_refused([&] { read_image(file(start, name)); }, "expected 54000000000000");
  EXPECT_LT(resident_bytes() - before, 100 << 20);
}

TEST_F(HeaderFirstTest, TheMemoryNamedIsWhatReadingTakes) {
  // 2^40 voxels of 2 bytes and the same as float32: 6 TiB.
  const RawVolume header{.geometry = {.size = {1 << 14, 1 << 13, 1 << 13}},
                         .type = VoxelType::kInt16};
  try {
    check_fits_memory(header, 0, {}, "file");
    ADD_FAILURE() << "6 TiB fit";
  } catch (const DoesNotFit& error) {
    EXPECT_THAT(error.what(), HasSubstr("6.0 TiB"));
  }
  EXPECT_NO_THROW(check_fits_memory({.geometry = {.size = {10, 10, 10}}}, 0, {}, "file"));
  EXPECT_THROW(
      check_fits_memory({.geometry = {.size = {10, 10, 10}}}, std::int64_t{1} << 50, {}, "f"),
      DoesNotFit);
}

// In every name that a reader could be given, and behind both kinds of detached header.
TEST_F(HeaderFirstTest, OnlyRegularFilesAreOpened) {
  const auto refused_at_once = [](const fs::path& path, const std::string& part) {
    const auto start = std::chrono::steady_clock::now();
    expect_refused([&] { read_image(path); }, part);
    expect_refused([&] { read_label(path); }, part);
    expect_refused([&] { read_volume_header(path); }, part);
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(2));
  };
  for (const char* name : {"p.nii", "p.nii.gz", "p.nrrd", "p.nhdr", "p.mha", "p.mhd", "p.raw"})
    ASSERT_EQ(mkfifo((folder_ / name).c_str(), 0600), 0);
  for (const char* name : {"p.nii", "p.nii.gz", "p.nrrd", "p.nhdr", "p.mha", "p.mhd"})
    refused_at_once(folder_ / name, "regular file");
  const std::string nrrd = nrrd_fields().text();
  refused_at_once(file(nrrd + "data file: p.raw\n", "a.nhdr"), "regular file");
  refused_at_once(file(meta_fields().with("ElementDataFile", "p.raw").text(), "a.mhd"),
                  "regular file");
  fs::create_symlink("/dev/zero", folder_ / "zero.nii");
  refused_at_once(folder_ / "zero.nii", "regular file");
  fs::create_symlink("/dev/tty", folder_ / "tty.mha");
  refused_at_once(folder_ / "tty.mha", "");
  const int descriptor = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  (folder_ / "socket.nii").string().copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(bind(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  refused_at_once(folder_ / "socket.nii", "regular file");
  close(descriptor);
  fs::create_directory(folder_ / "folder.raw");
  refused_at_once(file(nrrd + "data file: folder.raw\n", "b.nhdr"), "a folder");
}

TEST_F(HeaderFirstTest, AMissingRightIsNotCalledDamage) {
  if (geteuid() == 0) GTEST_SKIP() << "root may read everything";
  for (const char* name : {"a.nii", "a.nii.gz", "a.nrrd", "a.mha"}) {
    const fs::path path = file("x", name);
    fs::permissions(path, fs::perms::none);
    expect_refused([&] { read_image(path); }, "Permission denied; check the permissions");
    expect_refused([&] { read_volume_header(path); }, "Permission denied");
  }
}

class DetachedTest : public testing::TextVolumeTest {
 protected:
  DetachedTest() {
    fs::create_directories(folder_ / "set" / "below");
    for (const char* place : {"secret.raw", "set/voxels.raw", "set/below/voxels.raw"})
      testing::written(folder_ / place, counting());
  }
  fs::path nhdr(const std::string& data) {
    return testing::written(folder_ / "set/a.nhdr",
                            nrrd_fields().text() + "data file: " + data + "\n");
  }
  fs::path mhd(const std::string& data) {
    return testing::written(folder_ / "set/a.mhd",
                            meta_fields().with("ElementDataFile", data).text());
  }
};

TEST_F(DetachedTest, TheFileOfTheVoxelsLiesBesideItsHeaderOrBelow) {
  for (const std::string& data : std::vector<std::string>{
           "voxels.raw", "./voxels.raw", "below/voxels.raw", "below/../voxels.raw",
           "../set/voxels.raw", (folder_ / "set/voxels.raw").string()}) {
    EXPECT_NO_THROW(read_image(nhdr(data))) << data;
    EXPECT_NO_THROW(read_image(mhd(data))) << data;
  }
}

TEST_F(DetachedTest, AFileOutsideTheFolderIsNotRead) {
  fs::create_symlink(folder_ / "secret.raw", folder_ / "set/link.raw");
  fs::create_directory_symlink(folder_.path(), folder_ / "set/up");
  for (const std::string& data : std::vector<std::string>{
           "../secret.raw", "below/../../secret.raw", "link.raw", "up/secret.raw", "/etc/passwd",
           "../none.raw", "..", (folder_ / "secret.raw").string()}) {
    SCOPED_TRACE(data);
    for (const fs::path& header : {nhdr(data), mhd(data)}) {
      expect_refused([&] { read_image(header); }, "leads out of its own folder");
      expect_refused([&] { read_volume_header(header); }, "leads out of its own folder");
    }
  }
  for (const std::string& data : {std::string("a\x1b[2J.raw"), std::string("a\0b.raw", 7)}) {
    expect_refused([&] { read_image(nhdr(data)); }, "no name of a file");
    expect_refused([&] { read_image(mhd(data)); }, "no name of a file");
  }
}

// Data sets are often folders of links into one store.
TEST_F(DetachedTest, LinksToAHeaderAndItsVoxelsInOneFolderAreFollowed) {
  nhdr("voxels.raw");
  fs::create_directory(folder_ / "links");
  for (const char* name : {"a.nhdr", "voxels.raw"})
    fs::create_symlink(folder_ / "set" / name, folder_ / "links" / name);
  EXPECT_NO_THROW(read_image(folder_ / "links/a.nhdr"));
  fs::remove(folder_ / "links/voxels.raw");
  fs::create_symlink(folder_ / "secret.raw", folder_ / "links/voxels.raw");
  expect_refused([&] { read_image(folder_ / "links/a.nhdr"); }, "leads out of its own folder");
}

TEST_F(DetachedTest, AHeaderInTheWorkingFolderIsReadToo) {
  nhdr("voxels.raw");
  const fs::path before = fs::current_path();
  fs::current_path(folder_ / "set");
  EXPECT_NO_THROW(read_image("a.nhdr"));
  fs::current_path(before);
}

}  // namespace
}  // namespace lamp
