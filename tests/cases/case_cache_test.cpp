// Prepared cases on disk: never old, never damaged, never in the way.
#include "lamp/cases/case_cache.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <torch/types.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/size3.h"
#include "lamp/cases/case_file.h"
#include "lamp/cases/case_store.h"
#include "support/ball_dataset.h"
#include "support/folder_contents.h"
#include "support/temporary_folder.h"

namespace lamp {
namespace {

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

bool same(const TrainingCase& a, const TrainingCase& b) {
  bool equal = torch::equal(a.image(), b.image()) && torch::equal(a.label, b.label) &&
               a.voxel_counts == b.voxel_counts && a.foreground.size() == b.foreground.size();
  for (std::size_t i = 0; equal && i < a.foreground.size(); ++i)
    equal = torch::equal(a.foreground[i], b.foreground[i]);
  return equal;
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

class CaseCacheTest : public ::testing::Test {
 protected:
  CaseCacheTest()
      : dataset_(read_dataset(testing::write_ball_dataset(folder_ / "data", 3))),
        config_(parse_data_config({{"window", {0, 100}}})) {}

  std::unique_ptr<CaseStore> store(std::optional<std::int64_t> limit_bytes = std::nullopt) {
    return std::make_unique<CaseStore>(
        dataset_, config_,
        CaseStoreOptions{.limit_bytes = 1 << 30,
                         .cache = CaseCacheOptions{.folder = cache_, .limit_bytes = limit_bytes}});
  }
  std::vector<fs::path> files(const std::string& extension = ".case") const {
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator(cache_))
      if (entry.path().extension() == extension) found.push_back(entry.path());
    return found;
  }
  // How many cases a new store prepares to have all of them, and that they are right.
  std::int64_t prepared(std::optional<std::int64_t> limit_bytes = std::nullopt) {
    const auto cached = store(limit_bytes);
    CaseStore plain(dataset_, config_, {.limit_bytes = 1 << 30});
    for (std::size_t i = 0; i < 3; ++i) EXPECT_TRUE(same(*cached->get(i), *plain.get(i))) << i;
    return cached->prepared();
  }
  testing::TemporaryFolder folder_;
  const fs::path cache_ = folder_ / "cache";
  Dataset dataset_;
  DataConfig config_;
};

TEST_F(CaseCacheTest, TheSecondStorePreparesNothing) {
  EXPECT_EQ(prepared(), 3);
  EXPECT_EQ(files().size(), 3U);
  EXPECT_EQ(prepared(), 0);
}

TEST_F(CaseCacheTest, CasesAreMappedAtOnceAndHoldNoMemory) {
  const auto cached = store();
  const auto sample = cached->get(0);
  EXPECT_TRUE(sample->mapped);
  EXPECT_EQ(sample->name, "ball_0");
  EXPECT_EQ(sample->stored.scalar_type(), torch::kUInt8) << "whole numbers in a narrow window";
}

TEST_F(CaseCacheTest, OnlyItsOwnerMayEnterTheFolder) {
  store();
  EXPECT_EQ(fs::status(cache_).permissions(), fs::perms::owner_all);
}

TEST_F(CaseCacheTest, AFolderWithOtherContentsIsNoCacheAndStaysAsItIs) {
  const auto refused = [&](const fs::path& folder) {
    const auto before = testing::contents_of(folder);
    std::string message = "no error";
    try {
      const CaseCache cache({.folder = folder}, config_, 2);
    } catch (const UsageError& error) {
      message = error.what();
    }
    EXPECT_EQ(testing::contents_of(folder), before);
    return message;
  };
  EXPECT_THAT(refused(folder_ / "data" / "imagesTr"),
              ::testing::AllOf(HasSubstr("loader.cache"), HasSubstr("ball_0.nii.gz and 2 more"),
                               HasSubstr("choose another")));
  const std::string key(32, 'a');
  for (const std::string& name : {std::string("notes.txt"), std::string("lamp_cache.json"),
                                  "x" + key + ".case", key + ".txt", key.substr(1) + ".stamp"}) {
    fs::remove_all(cache_);
    fs::create_directories(cache_);
    write_file(cache_ / (key + ".case"), "ours, but not alone");
    write_file(cache_ / name, "{}");
    EXPECT_THAT(refused(cache_), HasSubstr(name));
  }
}

TEST_F(CaseCacheTest, ACacheOfBeforeItHadAFileOfItsOwnIsKnownByItsFiles) {
  EXPECT_EQ(prepared(), 3);
  EXPECT_TRUE(fs::remove(cache_ / "lamp_cache.json"));
  write_file(cache_ / ".nfs0000000000000001", "a case that another process had mapped");
  EXPECT_EQ(prepared(), 0);
  EXPECT_TRUE(fs::exists(cache_ / "lamp_cache.json"));
  write_file(cache_ / "notes.txt", "later");  // in a known cache it does not matter
  EXPECT_EQ(prepared(), 0);
}

TEST_F(CaseCacheTest, ADamagedMarkIsNamedWithTheWayOut) {
  EXPECT_EQ(prepared(), 3);
  const fs::path mark = cache_ / "lamp_cache.json";
  for (const char* damaged : {"", "{\"written_by\": \"lamp ca"}) {
    std::ofstream(mark) << damaged;
    try {
      const CaseCache cache({.folder = cache_}, config_, 2);
      FAIL() << "taken for a cache";
    } catch (const UsageError& error) {
      EXPECT_THAT(error.what(), ::testing::AllOf(HasSubstr("a damaged lamp_cache.json"),
                                                 HasSubstr("remove that file")));
    }
    EXPECT_EQ(read_file(mark), damaged);
  }
  fs::remove(mark);
  EXPECT_EQ(prepared(), 0);  // the cases are still there
  EXPECT_TRUE(fs::exists(mark));
}

TEST_F(CaseCacheTest, OtherSettingsAreOtherCases) {
  EXPECT_EQ(prepared(), 3);
  config_.window = std::array<double, 2>{0, 101};
  EXPECT_EQ(prepared(), 3);
  config_.spacing_mm = std::array<double, 3>{1, 1, 1};
  EXPECT_EQ(prepared(), 3);
  EXPECT_EQ(store()->get(0)->stored.scalar_type(), torch::kFloat32) << "resampled";
  dataset_.labels[2] = "another";
  EXPECT_EQ(prepared(), 3);
  EXPECT_EQ(prepared(), 0);
}

TEST_F(CaseCacheTest, ACopyOfTheDataSetElsewhereIsKnownByItsBytes) {
  EXPECT_EQ(prepared(), 3);
  fs::copy(folder_ / "data", folder_ / "moved", fs::copy_options::recursive);
  dataset_ = read_dataset(folder_ / "moved");
  EXPECT_EQ(prepared(), 0);
}

TEST_F(CaseCacheTest, AChangedFileIsNoticed) {
  EXPECT_EQ(prepared(), 3);
  Volume image = read_image(dataset_.training[0].images[0]);
  image.voxels = (image.voxels + 1).to(torch::kInt16);
  write_volume(dataset_.training[0].images[0], image);
  EXPECT_EQ(prepared(), 1);
  fs::copy_file(dataset_.training[1].label, dataset_.training[0].label,
                fs::copy_options::overwrite_existing);
  fs::copy_file(dataset_.training[1].images[0], dataset_.training[0].images[0],
                fs::copy_options::overwrite_existing);
  EXPECT_EQ(prepared(), 0) << "now the same case as the second";
}

// An uncompressed file keeps its size and may keep its time; only its change of state tells.
TEST_F(CaseCacheTest, AFlippedVoxelIsNoticedAlthoughSizeAndTimeAreTheSame) {
  const fs::path image = folder_ / "data" / "imagesTr" / "plain.nii";
  write_volume(image, read_image(dataset_.training[0].images[0]));
  dataset_.training[0].images[0] = image;
  std::this_thread::sleep_for(std::chrono::milliseconds(2200));  // until stamps are believed
  EXPECT_EQ(prepared(), 3);
  EXPECT_EQ(files(".stamp").size(), 3U);
  struct stat before {};
  ASSERT_EQ(stat(image.c_str(), &before), 0);
  {
    std::fstream file(image, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(4000);
    file.put(1);
  }
  const timespec times[] = {before.st_atim, before.st_mtim};
  ASSERT_EQ(utimensat(AT_FDCWD, image.c_str(), times, 0), 0);
  struct stat after {};
  ASSERT_EQ(stat(image.c_str(), &after), 0);
  ASSERT_EQ(after.st_size, before.st_size);
  ASSERT_EQ(after.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
  EXPECT_EQ(prepared(), 1);
}

TEST_F(CaseCacheTest, AStampSavesReadingTheFiles) {
  std::this_thread::sleep_for(std::chrono::milliseconds(2200));
  EXPECT_EQ(prepared(), 3);
  for (const fs::path& stamp : files(".stamp")) {
    Json rows = read_json(stamp);
    rows[0]["sha256"] = std::string(64, '0');
    write_file(stamp, rows.dump());
  }
  EXPECT_EQ(prepared(), 3) << "the stamps' digests counted";
  for (const fs::path& stamp : files(".stamp")) write_file(stamp, "{");
  EXPECT_EQ(prepared(), 0) << "a damaged stamp is no stamp";
}

TEST_F(CaseCacheTest, DamagedFilesAreWrittenAnew) {
  EXPECT_EQ(prepared(), 3);
  const auto damaged = files();
  fs::resize_file(damaged[0], 5000);
  std::fstream(damaged[1], std::ios::in | std::ios::out | std::ios::binary).seekp(8).put(9);
  std::fstream(damaged[2], std::ios::in | std::ios::out | std::ios::binary).seekp(4 * 4096).put(99);
  ::testing::internal::CaptureStderr();
  EXPECT_EQ(prepared(), 3);
  const std::string told = ::testing::internal::GetCapturedStderr();
  for (const fs::path& file : damaged) EXPECT_THAT(told, HasSubstr(file.string()));
  EXPECT_THAT(told, HasSubstr("prepared again"));
  EXPECT_EQ(prepared(), 0);
}

TEST_F(CaseCacheTest, AFolderThatCannotBeMadeIsToldAndDoneWithout) {
  write_file(cache_, "a file where the folder should be");
  ::testing::internal::CaptureStderr();
  EXPECT_EQ(prepared(), 3);
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr("loader.cache"));
}

// No file of the process may grow beyond the limit, so writing a case fails half way.
TEST_F(CaseCacheTest, AFullDiskIsToldAndDoneWithout) {
  fs::create_directories(cache_);
  signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit small{.rlim_cur = 18000, .rlim_max = before.rlim_max};
  ::testing::internal::CaptureStderr();
  setrlimit(RLIMIT_FSIZE, &small);
  const std::int64_t count = prepared();
  setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_EQ(count, 3);
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr("loader.cache"));
  for (const auto& entry : fs::directory_iterator(cache_))
    EXPECT_EQ(entry.path().filename(), "lamp_cache.json") << "half a file is no file";
}

TEST_F(CaseCacheTest, TheLimitHoldsAndTheLongestUnusedGoFirst) {
  EXPECT_EQ(prepared(), 3);
  std::int64_t bytes = 0;
  for (const fs::path& file : files()) bytes += static_cast<std::int64_t>(fs::file_size(file));
  write_file(cache_ / "notes.txt", "not ours");
  const auto old = fs::file_time_type::clock::now() - std::chrono::hours(1);
  for (const char* extension : {".case", ".stamp"})
    for (const fs::path& file : files(extension)) fs::last_write_time(file, old);
  const auto before = files();
  config_.window = std::array<double, 2>{0, 99};
  EXPECT_EQ(prepared(bytes + 4096), 3);
  EXPECT_EQ(files().size(), 3U);
  for (const fs::path& file : before) EXPECT_FALSE(fs::exists(file)) << "another run's, long ago";
  EXPECT_TRUE(fs::exists(cache_ / "notes.txt"));
}

TEST_F(CaseCacheTest, ADataSetLargerThanTheLimitDoesNotPushItselfOut) {
  EXPECT_EQ(prepared(), 3);
  const auto bytes = static_cast<std::int64_t>(fs::file_size(files()[0]));
  fs::remove_all(cache_);
  EXPECT_EQ(prepared(2 * bytes + bytes / 2), 3);
  EXPECT_EQ(files().size(), 2U);
  EXPECT_EQ(prepared(2 * bytes + bytes / 2), 1);
}

TEST_F(CaseCacheTest, TwoStoresOnOneFolderAtOnceAgree) {
  CaseStore plain(dataset_, config_, {.limit_bytes = 1 << 30});
  std::vector<std::shared_ptr<const TrainingCase>> found(4 * 3);
  {
    std::vector<std::unique_ptr<CaseStore>> stores;
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) stores.push_back(store());
    for (std::size_t i = 0; i < found.size(); ++i)
      threads.emplace_back([&, i] { found[i] = stores[i / 3]->get(i % 3); });
    for (auto& thread : threads) thread.join();
  }
  for (std::size_t i = 0; i < found.size(); ++i)
    EXPECT_TRUE(same(*found[i], *plain.get(i % 3))) << i;
  for (const auto& entry : fs::directory_iterator(cache_))
    EXPECT_NE(entry.path().filename().string()[0], '.') << "left behind: " << entry.path();
  EXPECT_EQ(prepared(), 0);
}

TEST_F(CaseCacheTest, ADamagedSourceIsToldAsWithoutACache) {
  fs::resize_file(dataset_.training[0].images[0], 100);
  try {
    store()->get(0);
    FAIL();
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), HasSubstr("ball_0.nii.gz"));
  }
  fs::remove(dataset_.training[0].images[0]);
  EXPECT_THROW(store()->get(0), InputError);
}

}  // namespace
}  // namespace lamp
