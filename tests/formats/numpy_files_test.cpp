// What numpy itself writes reads value by value, or is refused where it is no array of numbers.
#include <gtest/gtest.h>
#include <torch/types.h>

#include "lamp/base/errors.h"
#include "lamp/base/size3.h"
#include "lamp/formats/npy.h"
#include "support/run_python.h"
#include "support/temporary_folder.h"

namespace lamp {
namespace {

TEST(NumpyFilesTest, RealNumpyFilesRead) {
  const testing::TemporaryFolder folder;
  const int status = testing::run_python(folder, R"(
import sys, numpy
folder = sys.argv[1]
values = numpy.arange(60).reshape(3, 4, 5)
for dtype in "? u1 i1 <u2 >i2 <u4 >i4 >u8 <i8 <f2 >f2 <f4 >f4 <f8 >f8".split():
    for order in "CF":
        array = numpy.asarray(values % 2 if dtype == "?" else values, dtype=numpy.dtype(dtype), order=order)
        numpy.save(f"{folder}/{dtype.strip('<>?') or 'b1'}_{'big' if '>' in dtype else 'little'}_{order}.npy", array)
with open(f"{folder}/long_2.npy", "wb") as file:
    numpy.lib.format.write_array(file, values.astype("<i2"), version=(2, 0))
with open(f"{folder}/long_3.npy", "wb") as file:
    numpy.lib.format.write_array(file, values.astype("<i2"), version=(3, 0))
numpy.save(f"{folder}/view.npy", numpy.arange(120).reshape(3, 4, 10)[:, :, ::2] // 2)
numpy.save(f"{folder}/refuse_object.npy", numpy.array([1, "x", None], dtype=object), allow_pickle=True)
numpy.save(f"{folder}/refuse_record.npy", numpy.zeros(3, dtype=[("a", "<f4"), ("b", "<i2")]))
numpy.save(f"{folder}/refuse_complex.npy", numpy.zeros((3, 4, 5), dtype=complex))
numpy.save(f"{folder}/refuse_text.npy", numpy.array(["a", "b"]))
numpy.save(f"{folder}/refuse_time.npy", numpy.zeros((3, 4, 5), dtype="datetime64[s]"))
numpy.savez(f"{folder}/refuse_zip", values)
import os
os.rename(f"{folder}/refuse_zip.npz", f"{folder}/refuse_zip.npy")
)",
                                         folder.path().string());
  ASSERT_EQ(status, 0) << "is numpy there? scripts/setup installs it";
  int read = 0, refused = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    const std::string name = entry.path().filename().string();
    if (entry.path().extension() != ".npy") continue;
    SCOPED_TRACE(name);
    if (name.starts_with("refuse")) {
      EXPECT_THROW(read_npy_volume(entry.path(), {1, 1, 1}), InputError);
      ++refused;
      continue;
    }
    torch::Tensor expected = torch::arange(60, torch::kFloat32);
    if (name.starts_with("b1")) expected = expected.remainder(2);
    const Volume image = to_image(read_npy_volume(entry.path(), {1, 1, 1}), {}, name);
    EXPECT_TRUE(torch::equal(image.voxels.flatten(), expected));
    ++read;
  }
  EXPECT_EQ(read, 33);
  EXPECT_EQ(refused, 6);
}

}  // namespace
}  // namespace lamp
