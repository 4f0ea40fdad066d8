// What readers of images say is wrong, part by part.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include "lamp/base/errors.h"
#include "lamp/formats/raw_volume.h"
#include "lamp/formats/volume_io.h"
#include "support/fault_of.h"
#include "support/temporary_folder.h"
#include "volume/volume_samples.h"

namespace lamp {
namespace {

namespace fs = std::filesystem;
using lamp::testing::written;
using ::testing::HasSubstr;

class ReaderFaultsTest : public ::testing::Test {
 protected:
  static Fault fault_of(const fs::path& path, const ReadOptions& options = {}) {
    return testing::fault_of<InputError>([&] { read_image(path, options); });
  }
  fs::path image() const {
    const Volume volume{.geometry = {.size = {4, 3, 2}}, .voxels = torch::ones({1, 2, 3, 4})};
    write_volume(folder_ / "a.nii", volume);
    return folder_ / "a.nii";
  }

  testing::TemporaryFolder folder_;
};

TEST_F(ReaderFaultsTest, OfANiftiFileThatIsCutShort) {
  const fs::path path = image();
  fs::resize_file(path, fs::file_size(path) - 1);
  const Fault fault = fault_of(path);
  EXPECT_EQ(fault.file, path.string());
  EXPECT_EQ(fault.what, "cannot read");
  EXPECT_THAT(fault.found, HasSubstr("cut short"));
  EXPECT_EQ(fault.fix, "get the file again");
}

TEST_F(ReaderFaultsTest, OfAnNrrdFileOfAnEncodingThatIsNotRead) {
  const Fault fault = fault_of(written(folder_ / "a.nrrd",
                                       "NRRD0004\ntype: short\ndimension: 3\nsizes: 4 3 2\n"
                                       "endian: little\nencoding: ascii\n\n1 2 3"));
  EXPECT_EQ(fault.what, "cannot read");
  EXPECT_EQ(fault.found, "encoding \"ascii\"");
  EXPECT_EQ(fault.expected, "raw or gzip");
  EXPECT_EQ(fault.fix, "save it as gzip");
}

TEST_F(ReaderFaultsTest, OfADicomFolderWithAFileThatMayHaveBeenASlice) {
  const fs::path slice = written(folder_ / "1.dcm", "hello");
  const Fault fault = fault_of(folder_.path());
  EXPECT_EQ(fault.file, slice.string());
  EXPECT_THAT(fault.found, HasSubstr("a slice may be missing"));
  EXPECT_EQ(fault.fix, "get it again or move it away");
}

TEST_F(ReaderFaultsTest, OfAnImageTooLargeForTheMemory) {
  const fs::path path = image();
  const Fault fault =
      testing::fault_of<TooLargeToRead>([&] { read_image(path, ReadOptions{.memory_bytes = 10}); });
  EXPECT_EQ(fault.file, path.string());
  EXPECT_EQ(fault.what, "does not fit");
  EXPECT_THAT(fault.found, HasSubstr("of the given memory are left"));
  EXPECT_THAT(fault.fix, HasSubstr("give more"));
}

}  // namespace
}  // namespace lamp
