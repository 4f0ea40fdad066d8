// Holds the include table of docs/architecture.md: a module includes only itself and what the table
// allows.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
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
    {"volume", {"base"}},
    {"formats", {"volume"}},
    {"preview", {"volume"}},
    {"dataset", {"formats", "preview"}},
    {"cases", {"dataset"}},
    {"augment", {"cases"}},
    {"convert", {"dataset"}},
    {"phantoms", {"dataset"}},
    {"sequence", {"base"}},
    {"objective", {"base"}},
    {"nets", {"sequence"}},
    {"pipeline", {"sequence"}},
    {"processes", {"pipeline"}},
    {"planner", {"pipeline"}},
    {"profile", {"planner"}},
    {"evaluation", {"dataset", "objective"}},
    {"report", {"pipeline"}},
    {"inference", {"profile", "nets", "cases"}},
    {"execution", {"inference", "objective"}},
    {"training", {"execution", "augment", "processes"}},
    {"experiment", {"training", "evaluation", "report", "convert", "phantoms"}},
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

// Definitions of types outside anonymous namespaces, by name: two of one name in two libraries are
// one type to the linker, which keeps whichever it meets first.
std::map<std::string, std::vector<std::string>> types_by_name(const fs::path& root) {
  static const std::regex kType(
      R"(^(?:struct|class|enum class)(?: alignas\(\w+\))? (\w+)(?: final)?(?: :[^:;][^;]*)? \{)");
  std::map<std::string, std::vector<std::string>> found;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    const std::string extension = entry.path().extension().string();
    if (extension != ".h" && extension != ".cpp") continue;
    std::ifstream in(entry.path());
    bool hidden = false;
    for (std::string line; std::getline(in, line);) {
      if (line == "namespace {") hidden = true;
      if (line == "}  // namespace") hidden = false;
      if (std::smatch match; !hidden && std::regex_search(line, match, kType))
        found[match[1]].push_back(entry.path().filename().string());
    }
  }
  return found;
}

std::vector<std::string> types_defined_twice(const fs::path& root) {
  std::vector<std::string> twice;
  for (const auto& [name, files] : types_by_name(root))
    if (files.size() > 1) twice.push_back(name + ": " + files[0] + ", " + files[1]);
  return twice;
}

TEST(LayeringTest, NoTwoTypesHaveOneName) {
  const fs::path root = fs::path(LAMP_SOURCE_DIR) / "src" / "lamp";
  EXPECT_GT(types_by_name(root).size(), 100U);
  EXPECT_EQ(types_defined_twice(root), std::vector<std::string>{});
}

TEST(LayeringTest, SeesTwoTypesOfOneName) {
  const fs::path root = fs::temp_directory_path() / ("lamp-types-" + std::to_string(getpid()));
  fs::create_directories(root / "nets");
  std::ofstream(root / "nets" / "a.h") << "struct Result {\n};\nstruct Only;\n";
  std::ofstream(root / "b.cpp") << "class Result final {\n};\nnamespace {\nstruct Own {\n};\n"
                                   "}  // namespace\nstruct Own {\n};\nclass Only {\n};\n";
  const auto twice = types_defined_twice(root);
  ASSERT_EQ(twice.size(), 1U);
  EXPECT_EQ(twice[0].substr(0, 7), "Result:");
  fs::remove_all(root);
}

TEST(LayeringTest, ThePlannerKnowsNumbersOnly) {
  for (const auto& entry :
       fs::directory_iterator(fs::path(LAMP_SOURCE_DIR) / "src" / "lamp" / "planner")) {
    std::ifstream in(entry.path());
    for (std::string line; std::getline(in, line);)
      EXPECT_FALSE(line.rfind("#include <", 0) == 0 && line.find('/') != std::string::npos)
          << entry.path() << ": " << line;
  }
}

// A source file implements the header of its name, and begins by including it. Not so: what stands
// in for a library that is not there, and the program's commands, of which commands.h has a line
// each.
std::vector<std::string> sources_without_header(const fs::path& root) {
  static const std::regex kOthers("(.*_none|main|.*_command)");
  std::vector<std::string> found;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    const fs::path file = entry.path();
    if (file.extension() != ".cpp" || std::regex_match(file.stem().string(), kOthers)) continue;
    const std::string own =
        "#include \"lamp/" + fs::relative(file, root).replace_extension(".h").string() + "\"";
    std::ifstream in(file);
    std::string line;
    while (std::getline(in, line) && !line.starts_with("#include")) {
    }
    if (line != own) found.push_back(file.string());
  }
  return found;
}

TEST(LayeringTest, EverySourceFileHasItsHeader) {
  EXPECT_EQ(sources_without_header(fs::path(LAMP_SOURCE_DIR) / "src" / "lamp"),
            std::vector<std::string>{});
}

TEST(LayeringTest, SeesASourceFileWithoutItsHeader) {
  const fs::path root = fs::temp_directory_path() / ("lamp-headers-" + std::to_string(getpid()));
  fs::create_directories(root / "nets");
  std::ofstream(root / "nets" / "a.cpp") << "// Own.\n#include \"lamp/nets/a.h\"\n";
  std::ofstream(root / "nets" / "a_none.cpp") << "#include \"lamp/nets/a.h\"\n";
  std::ofstream(root / "nets" / "b.cpp") << "#include <map>\n#include \"lamp/nets/a.h\"\n";
  const auto found = sources_without_header(root);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(fs::path(found[0]).filename(), "b.cpp");
  fs::remove_all(root);
}

std::string text_of(const fs::path& file) {
  std::ifstream in(file);
  return {std::istreambuf_iterator<char>(in), {}};
}

bool is_source(const fs::path& file) {
  return file.extension() == ".h" || file.extension() == ".cpp";
}

// Lines outside cli/ whose text holds a word of the command line: the library names settings
// (base/setting_name.h), the program says how they are written. Not so: what a folder's own
// dataset.json says it was made by, which has to stay as it is to be known again.
std::vector<std::string> lines_with_options(const fs::path& root) {
  static const std::regex kOption(R"("[^"]*(--[a-z]|[ (]-[a-z]\b))");
  static const std::regex kNoOption("ulimit -[a-z]|; +// .*");  // the shell's, or a comment
  std::vector<std::string> found;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    if (!is_source(entry.path()) || fs::relative(entry.path(), root).begin()->string() == "cli")
      continue;
    std::ifstream in(entry.path());
    for (std::string line; std::getline(in, line);) {
      const std::size_t start = line.find_first_not_of(' ');
      if (start == std::string::npos || line.compare(start, 2, "//") == 0) continue;
      line = std::regex_replace(line, kNoOption, "");
      if (std::regex_search(line, kOption) && line.find("\"Prepared by ") == std::string::npos)
        found.push_back(entry.path().filename().string() + ": " + line.substr(start));
    }
  }
  return found;
}

TEST(LayeringTest, TheLibraryHoldsNoWordOfTheCommandLine) {
  EXPECT_EQ(lines_with_options(fs::path(LAMP_SOURCE_DIR) / "src" / "lamp"),
            std::vector<std::string>{});
}

TEST(LayeringTest, SeesAWordOfTheCommandLine) {
  const fs::path root = fs::temp_directory_path() / ("lamp-options-" + std::to_string(getpid()));
  fs::create_directories(root / "nets");
  fs::create_directories(root / "cli");
  std::ofstream(root / "nets" / "a.cpp")
      << "// Not \"--so\".\nthrow Error(\"use --patch\");\n--i;\n";
  std::ofstream(root / "cli" / "b.cpp") << "throw Error(\"use --patch\");\n";
  EXPECT_EQ(lines_with_options(root),
            std::vector<std::string>{"a.cpp: throw Error(\"use --patch\");"});
  fs::remove_all(root);
}

std::set<std::string> matches_in(const std::string& text, const std::regex& pattern) {
  std::set<std::string> found;
  for (std::sregex_iterator at(text.begin(), text.end(), pattern), end; at != end; ++at)
    found.insert((*at)[1]);
  return found;
}

TEST(LayeringTest, EverySettingThatAMessageNamesHasAnOption) {
  static const std::regex kNamed("setting_(?:name|to)\\(\\s*\"([^\"]+)\"");
  static const std::regex kRow("\\{\"([a-z0-9_.]+)\", \"-"), kWord("\", \"(-[a-z0-9-]+)\"\\}");
  const fs::path root = fs::path(LAMP_SOURCE_DIR) / "src" / "lamp";
  std::string library, program;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    if (!is_source(entry.path()) || entry.path().stem() == "option_names") continue;
    const bool is_program = fs::relative(entry.path(), root).begin()->string() == "cli";
    (is_program ? program : library) += text_of(entry.path());
  }
  const std::string table = text_of(root / "cli" / "option_names.cpp");
  const auto named = matches_in(library, kNamed), rows = matches_in(table, kRow);
  EXPECT_GT(named.size(), 30U);
  for (const std::string& key : named) EXPECT_TRUE(rows.contains(key)) << key << " has no option";
  for (const std::string& key : rows)
    EXPECT_NE(library.find('"' + key + '"'), std::string::npos) << "nothing names " << key;
  for (const std::string& word : matches_in(table, kWord))
    EXPECT_TRUE(program.find('"' + word + '"') != std::string::npos ||
                program.find('"' + word + ',') != std::string::npos)
        << word << " is no option";
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
