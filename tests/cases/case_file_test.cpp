// A file of a prepared case gives back what was written, or says what is wrong with it.
#include "lamp/cases/case_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

#include "cases/same_case.h"
#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/json.h"
#include "lamp/base/size3.h"
#include "support/temporary_folder.h"

namespace lamp {
namespace {

using lamp::testing::same;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

TrainingCase made_up_case(std::int64_t side = 6) {
  TrainingCase sample{.name = "made up"};
  sample.stored = torch::arange(2 * side * side * side).remainder(251).to(torch::kUInt8);
  sample.stored = sample.stored.view({2, side, side, side});
  sample.code = {.offset = -100, .window = std::array<double, 2>{-90, 0.1}};
  sample.label = sample.stored[0].remainder(3).to(torch::kUInt8);
  index_foreground(sample, 4);
  return sample;
}

class CaseFileTest : public ::testing::Test {
 protected:
  CaseFileTest() { write_case_file(path_, "key", made_up_case()); }

  std::string message(const std::string& key = "key") const {
    try {
      map_case_file(path_, key);
    } catch (const InputError& error) {
      return error.what();
    }
    return "no error";
  }
  void flip_byte(std::streamoff at) const {
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(at);
    const auto byte = static_cast<char>(file.get() ^ 1);
    file.seekp(at);
    file.put(byte);
  }

  testing::TemporaryFolder folder_;
  const fs::path path_ = folder_ / "a.case";
};

TEST_F(CaseFileTest, GivesBackWhatWasWritten) {
  const TrainingCase sample = map_case_file(path_, "key");
  EXPECT_TRUE(same(sample, made_up_case()));
  EXPECT_TRUE(sample.mapped);
  EXPECT_EQ(sample.bytes(), 0);
  EXPECT_EQ(sample.foreground.size(), 4U);
  EXPECT_EQ(sample.foreground[3].numel(), 0);
}

TEST_F(CaseFileTest, AViewOutlivesTheCaseAndTheFile) {
  torch::Tensor label = map_case_file(path_, "key").label;
  fs::remove(path_);
  EXPECT_TRUE(torch::equal(label, made_up_case().label));
}

TEST_F(CaseFileTest, EveryFlippedBitIsNoticedExceptBetweenTheParts) {
  const std::string text = read_file(path_);
  EXPECT_EQ(static_cast<std::int64_t>(text.size()), case_file_bytes(made_up_case()));
  std::uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, text.data() + 16, 8);
  const Json header = parse_json(text.substr(32, header_bytes), "header");
  ASSERT_EQ(header["sections"].size(), 4U);
  const std::size_t item_bytes[] = {1, 1, 8, 8};
  const auto counts = [&](std::size_t at) {
    bool inside = at < 32 + header_bytes;
    for (std::size_t i = 0; i < 4; ++i) {
      std::size_t bytes = item_bytes[i];
      for (const Json& side : header["sections"][i]["shape"]) bytes *= side.get<std::size_t>();
      const auto start = header["sections"][i]["at"].get<std::size_t>();
      inside |= start <= at && at < start + bytes;
    }
    return inside;
  };
  for (std::size_t at = 0; at < text.size(); at += at < 1024 ? 1 : 61) {
    flip_byte(static_cast<std::streamoff>(at));
    EXPECT_EQ(message() != "no error", counts(at)) << at;
    flip_byte(static_cast<std::streamoff>(at));
  }
  EXPECT_EQ(message(), "no error");
}

TEST_F(CaseFileTest, SaysWhatIsWrong) {
  EXPECT_THAT(message("another"), HasSubstr("made from something else"));
  flip_byte(8);
  EXPECT_THAT(message(), HasSubstr("found version 3, expected 2"));
  flip_byte(8);
  flip_byte(40);
  EXPECT_THAT(message(), HasSubstr("checksum of its header"));
  flip_byte(40);
  flip_byte(4 * 4096 + 5);
  EXPECT_THAT(message(), HasSubstr("a checksum is wrong"));
  flip_byte(4 * 4096 + 5);
  fs::resize_file(path_, fs::file_size(path_) - 1);
  EXPECT_THAT(message(), HasSubstr("expected"));
  fs::resize_file(path_, 10);
  EXPECT_THAT(message(), HasSubstr("found 10 bytes"));
  fs::remove(path_);
  fs::create_directory(path_);
  EXPECT_THAT(message(), HasSubstr(path_.string()));
}

// Resident bytes of the mapping that holds `address`, as the kernel counts them.
std::int64_t resident_bytes_around(const void* address) {
  std::ifstream maps("/proc/self/smaps");
  const auto wanted = reinterpret_cast<std::uintptr_t>(address);
  bool inside = false;
  for (std::string line; std::getline(maps, line);) {
    unsigned long first = 0, last = 0;
    long kilobytes = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &first, &last) == 2)
      inside = first <= wanted && wanted < last;
    else if (inside && std::sscanf(line.c_str(), "Rss: %ld kB", &kilobytes) == 1)
      return 1024 * kilobytes;
  }
  return -1;
}

TEST(MappedCaseTest, APatchTouchesItsOwnPartOfTheFile) {
  const testing::TemporaryFolder folder;
  TrainingCase whole;
  whole.stored = torch::arange(256).to(torch::kInt16).expand({1, 256, 256, 256}).contiguous();
  whole.label = torch::zeros({256, 256, 256}, torch::kUInt8);
  whole.label[128][100][90] = 1;
  index_foreground(whole, 2);
  write_case_file(folder / "a.case", "key", whole);
  const TrainingCase mapped = map_case_file(folder / "a.case", "key");
  const std::int64_t before = resident_bytes_around(mapped.stored.const_data_ptr());
  ASSERT_GE(before, 0) << "no such mapping";
  Random random{1};
  const Patch patch = draw_patch(mapped, {.size = Size3{32, 32, 32}}, random);
  EXPECT_EQ(patch.label.sum().item<int>(), 1);
  EXPECT_EQ(patch.image[0][3][4][5].item<int>(), 90 - 16 + 5);
  const std::int64_t touched = resident_bytes_around(mapped.stored.const_data_ptr()) - before;
  EXPECT_GE(touched, 32 * 32 * 32 * 2);
  // The kernel maps some neighbouring pages that it has at hand.
  EXPECT_LT(touched, 10 << 20) << "of " << (48 << 20);
}

}  // namespace
}  // namespace lamp
