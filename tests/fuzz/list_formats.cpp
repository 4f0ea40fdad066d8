// JSON as such, and the lists of data sets.
#include <string>

#include "fuzz/fuzz_format.h"
#include "lamp/base/json.h"
#include "lamp/dataset/check_report.h"
#include "lamp/dataset/dataset_check.h"
#include "support/ball_dataset.h"

namespace lamp::fuzz {
namespace fs = std::filesystem;

std::vector<std::string> json_words(std::vector<std::string> more) {
  for (const char* word :
       {"{",       "}",        "[",     "]",   ",",       ":",    "\"",
        "null",    "true",     "false", "-",   "1e400",   "\\n",  "\\u0000",
        "\\ud800", "\xff\xfe", "/* ",   "// ", "{\"a\":", "[[[[", "\"\\u001b[2J\""})
    more.emplace_back(word);
  return more;
}

namespace {

void read_and_print(const fs::path& file) {
  const std::string printed = dump_json(read_json(file));
  if (dump_json(parse_json(printed, file.string())) != printed)
    throw Contradiction("what was printed reads as something else");
}

FuzzFormat json_format() {
  const auto seeds = [](const fs::path&) {
    return std::vector<FuzzFiles>{
        {{"a.json", testing::ball_config().dump(1)}},
        {{"a.json", R"({"a": [1, -2.5e10, true, null, "\u00e9\n"], /* b */ "c": {"d": {}}} // e)"}},
        {{"a.json", "[1,2,3,{\"x\":[]}]\n"}}};
  };
  return {
      .name = "json",
      .words = json_words({}),
      .seeds = seeds,
      .readers = {{"print", [](const fs::path& folder) { read_and_print(folder / "a.json"); }}}};
}

// Small images for the lists to name.
void write_images(const fs::path& folder) {
  testing::write_ball_dataset(folder, 2, 6);
  fs::remove(folder / "dataset.json");
  for (const char* place : {"imagesTr", "labelsTr"})
    for (const char* number : {"0", "1"}) {
      const fs::path from = folder / place / ("ball_" + std::string(number) + ".nii.gz");
      const std::string ending = std::string(place) == "imagesTr" ? "_0000.nii.gz" : ".nii.gz";
      fs::copy(from, folder / place / ("case_" + std::string(number) + ending));
    }
}

std::vector<FuzzFiles> dataset_seeds(const fs::path& folder) {
  write_images(folder);
  const std::string decathlon = R"({"name": "Liver", "modality": {"0": "CT"}, "numTraining": 2,
 "labels": {"0": "background", "1": "liver"},
 "training": [{"image": "./imagesTr/ball_0.nii.gz", "label": "./labelsTr/ball_0.nii.gz",
               "annotated": [1], "fold": 0},
              {"image": "./imagesTr/ball_1.nii.gz", "label": "./labelsTr/ball_1.nii.gz"}],
 "test": ["./imagesTr/case_0_0000.nii.gz"]})";
  const std::string nnunet =
      R"({"channel_names": {"0": "CT"}, "labels": {"background": 0, "ball": 1},
 "numTraining": 2, "file_ending": ".nii.gz"})";
  const std::string table =
      R"({"channel_names": {"0": "CT"}, "labels": {"background": 0, "ball": 1},
 "file_ending": ".nii.gz",
 "dataset": {"a": {"images": ["imagesTr/ball_0.nii.gz"], "label": "labelsTr/ball_0.nii.gz"}}})";
  const std::string monai = R"({"training": [{"image": ["imagesTr/ball_0.nii.gz"],
 "label": "labelsTr/ball_0.nii.gz", "fold": 1}], "testing": [{"image": "imagesTr/ball_1.nii.gz"}]})";
  std::vector<FuzzFiles> seeds;
  for (const std::string& text : {decathlon, nnunet, table, monai})
    seeds.push_back({{"dataset.json", text}});
  return seeds;
}

void check_whole(const fs::path& folder) {
  const CheckReport report = check_dataset(folder);
  describe(report);
  dump_json(to_json(report));
}

FuzzFormat dataset_format() {
  return {.name = "dataset",
          .words = json_words({"\"labels\":",
                               "\"training\":",
                               "\"validation\":",
                               "\"test\":",
                               "\"channel_names\":",
                               "\"modality\":",
                               "\"numTraining\":",
                               "\"fold\":",
                               "\"annotated\":",
                               "\"file_ending\": \".nrrd\",",
                               "\"dataset\":",
                               "\"image\":",
                               "\"label\":",
                               "\"ignore\": 2",
                               "../",
                               "/dev/zero",
                               "imagesTr",
                               ".",
                               "\\\\",
                               "C:\\\\x",
                               "\"base_dir\":",
                               "\"name\": 7,",
                               "\"curriculum\":"}),
          .seeds = dataset_seeds,
          .readers = {{"list", [](const fs::path& folder) { read_dataset(folder); }},
                      {"faults",
                       [](const fs::path& folder) {
                         std::vector<Fault> faults;
                         read_dataset(folder, &faults);
                         for (const Fault& fault : faults) throw InputError(fault);
                       }},
                      {"check", check_whole}}};
}

}  // namespace

std::vector<FuzzFormat> list_formats() { return {json_format(), dataset_format()}; }

}  // namespace lamp::fuzz
