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
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "cases/same_case.h"
#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/cases/case_store.h"
#include "support/ball_dataset.h"
#include "support/folder_contents.h"
#include "support/temporary_folder.h"

namespace lamp {
namespace {

using lamp::testing::same;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

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
