// The written set: sound, finished by the same request, and never in the place of others' files.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <utility>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/json.h"
#include "lamp/dataset/check_report.h"
#include "lamp/dataset/datalist.h"
#include "lamp/dataset/dataset_check.h"
#include "phantoms/phantom_fixture.h"
#include "support/folder_contents.h"

namespace lamp {
namespace {
namespace fs = std::filesystem;
using lamp::testing::contents_of;

using PhantomSetTest = lamp::testing::PhantomFixture;

TEST_F(PhantomSetTest, TheWrittenSetIsASoundDecathlonDataSet) {
  write_phantoms(options("han"));
  const Dataset dataset = read_dataset(folder_ / "a");
  EXPECT_EQ(dataset.training.size(), 2U);
  ASSERT_EQ(dataset.test.size(), 1U);
  EXPECT_EQ(dataset.test[0].name, "han_003");
  EXPECT_FALSE(dataset.test[0].label.empty());
  EXPECT_EQ(dataset.labels, phantom_labels("han"));
  const CheckReport report = check_dataset(folder_ / "a");
  EXPECT_TRUE(report.ok()) << describe(report);
}

TEST_F(PhantomSetTest, ARerunOverwritesItsOwnFilesOnly) {
  write_phantoms(options("twins"));
  write_phantoms(options("twins"));
  std::ofstream(folder_ / "a" / "notes.txt") << "mine";
  EXPECT_THROW(write_phantoms(options("twins")), UsageError);
  fs::remove(folder_ / "a" / "notes.txt");
  std::ofstream(folder_ / "a" / "dataset.json") << R"({"name": "patients"})";
  EXPECT_THROW(write_phantoms(options("twins")), UsageError);
}

TEST_F(PhantomSetTest, AListThatSomebodyChangedIsNotReplaced) {
  PhantomOptions wish = options("han");
  wish.missing = 0.5;  // the list also says what is annotated
  write_phantoms(wish);
  const fs::path file = folder_ / "a" / "dataset.json";
  const std::string ours = read_file(file);
  Json list = Json::parse(ours);
  list["labels"]["1"] = "Stem";
  std::ofstream(file) << dump_json(list) << "\n";
  const auto before = contents_of(folder_ / "a");
  EXPECT_THROW(write_phantoms(wish), UsageError);
  EXPECT_TRUE(contents_of(folder_ / "a") == before);
  std::ofstream(file) << ours;
  write_phantoms(wish);
  EXPECT_EQ(read_file(file), ours);
}

TEST_F(PhantomSetTest, PhantomsOfAnotherThicknessAreRefusedByThatName) {
  PhantomOptions plain = options("han", "plain"), thick = options("han", "thick");
  thick.thin_organs = 2;
  write_phantoms(plain);
  write_phantoms(thick);
  std::swap(plain.folder, thick.folder);
  for (const PhantomOptions& other : {plain, thick}) {
    try {
      write_phantoms(other);
      FAIL() << "accepted in " << other.folder;
    } catch (const UsageError& error) {
      EXPECT_THAT(error.what(), ::testing::HasSubstr("thin_organs"));
    }
  }
}

TEST_F(PhantomSetTest, AnotherRequestNeverReplacesPhantomsOfAnEarlierOne) {
  write_phantoms(options("liver"));
  const auto before = contents_of(folder_ / "a");
  const auto refused = [&](auto change) {
    PhantomOptions other = options("liver");
    change(other);
    EXPECT_THROW(write_phantoms(other), UsageError);
    EXPECT_TRUE(contents_of(folder_ / "a") == before);
  };
  refused([](PhantomOptions& o) { o.seed = 6; });
  refused([](PhantomOptions& o) { o.missing = 0.5; });
  refused([](PhantomOptions& o) { o.size = {40, 48, 40}; });
  refused([](PhantomOptions& o) { o.train = 1; });
  refused([](PhantomOptions& o) { o.test = 2; });
  refused([](PhantomOptions& o) { o.kind = "han"; });
  write_phantoms(options("liver"));
  EXPECT_TRUE(contents_of(folder_ / "a") == before);
  // Without the note of how they were made nobody can tell whose they are.
  fs::remove(folder_ / "a" / "dataset.json");
  const auto bare = contents_of(folder_ / "a");
  EXPECT_THROW(write_phantoms(options("liver")), UsageError);
  EXPECT_TRUE(contents_of(folder_ / "a") == bare);
}

TEST_F(PhantomSetTest, AnInterruptedSetIsFinishedByTheSameRequestOnly) {
  write_phantoms(options("han"));
  const Json made = read_json(folder_ / "a" / "dataset.json");
  const auto whole = contents_of(folder_ / "a");
  // As a kill before the second case leaves it.
  for (const char* part : {"imagesTr", "labelsTr"})
    fs::remove(folder_ / "a" / part / "han_002.nii.gz");
  fs::remove(folder_ / "a" / "dataset.json");
  std::ofstream(folder_ / "a" / kUnfinishedPhantoms) << Json{{"phantoms", made["phantoms"]}}.dump();
  PhantomOptions other = options("han");
  other.seed = 6;
  EXPECT_THROW(write_phantoms(other), UsageError);
  write_phantoms(options("han"));
  EXPECT_TRUE(contents_of(folder_ / "a") == whole);
}

TEST_F(PhantomSetTest, AForeignFileInTheNotesPlaceIsRefusedAndStays) {
  const fs::path note = folder_ / "a" / kUnfinishedPhantoms;
  fs::create_directories(note.parent_path());
  for (const std::string text : {"hello", "", "[]", "{\"phantoms\": 3}", "{\"phantoms\": {}}"}) {
    std::ofstream(note) << text;
    const auto before = contents_of(folder_ / "a");
    EXPECT_THROW(write_phantoms(options("liver")), UsageError) << text;
    EXPECT_TRUE(contents_of(folder_ / "a") == before) << text;
    EXPECT_TRUE(fs::exists(note)) << text;
  }
  fs::remove(note);
  ASSERT_EQ(mkfifo(note.c_str(), 0600), 0);
  EXPECT_THROW(write_phantoms(options("liver")), UsageError);
  EXPECT_TRUE(fs::is_fifo(note));
}

}  // namespace
}  // namespace lamp
