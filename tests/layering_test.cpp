// Holds the include table of docs/architecture.md: a module includes only itself and what the table
// allows.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;
using Modules = std::set<std::string>;

// What the table grants directly; the rest follows, since a module may include what its own modules
// include.
const std::map<std::string, Modules> kTable = {
    {"base", {}},
    {"sequence", {"base"}},
    {"data", {"base"}},
    {"objective", {"base"}},
    {"nets", {"sequence"}},
    {"pipeline", {"sequence"}},
    {"planner", {"pipeline"}},
    {"evaluation", {"data", "objective"}},
    {"report", {"pipeline", "data"}},
    {"inference", {"planner", "nets", "data"}},
    {"training", {"inference", "planner", "objective"}},
    {"experiment", {"training", "evaluation", "report"}},
};

Modules reachable(const std::string& module) {
  Modules all = {module};
  for (const auto& next : kTable.at(module))
    for (const auto& name : reachable(next)) all.insert(name);
  return all;
}

std::vector<std::string> included_modules(const fs::path& file) {
  static const std::regex kInclude(R"(^\s*#include \"lamp/([a-z_]+)/)");
  std::vector<std::string> modules;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);)
    if (std::smatch match; std::regex_search(line, match, kInclude)) modules.push_back(match[1]);
  return modules;
}

std::vector<std::string> violations(const fs::path& root) {
  std::vector<std::string> found;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    const std::string module = fs::relative(entry.path(), root).begin()->string();
    if (!entry.is_regular_file() || module == "cli") continue;
    if (!kTable.contains(module)) {
      found.push_back(module + ": no row in the table");
      continue;
    }
    for (const auto& included : included_modules(entry.path()))
      if (!reachable(module).contains(included))
        found.push_back(entry.path().string() + " includes " + included);
  }
  return found;
}

TEST(LayeringTest, ModulesIncludeOnlyWhatTheTableAllows) {
  EXPECT_EQ(violations(fs::path(LAMP_SOURCE_DIR) / "src" / "lamp"), std::vector<std::string>{});
}

TEST(LayeringTest, SeesAForbiddenInclude) {
  const fs::path root = fs::temp_directory_path() / ("lamp-layering-" + std::to_string(getpid()));
  fs::create_directories(root / "nets");
  std::ofstream(root / "nets" / "bad.h") << "#include \"lamp/training/trainer.h\"\n";
  EXPECT_EQ(violations(root).size(), 1U);
  fs::remove_all(root);
}

TEST(LayeringTest, OnlyOneSourceFileSpeaksItk) {
  std::vector<std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(fs::path(LAMP_SOURCE_DIR) / "src")) {
    if (!entry.is_regular_file()) continue;
    std::ifstream in(entry.path());
    for (std::string line; std::getline(in, line);) {
      if (line.rfind("#include", 0) == 0 && line.find("itk") != std::string::npos &&
          line.find(".h>") != std::string::npos) {
        files.push_back(entry.path().filename().string());
        break;
      }
    }
  }
  EXPECT_EQ(files, std::vector<std::string>{"itk_io.cpp"});
}

}  // namespace
