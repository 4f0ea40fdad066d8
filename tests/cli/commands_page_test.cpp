// docs/commands.md names every option of every command, and none that there is not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "support/run_program.h"

namespace lamp::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

using PageNames = std::set<std::string>;

std::vector<std::string> page_lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

// What stands first in each row of a part of a help text ("Options:", "Subcommands:"). Rows are
// indented by two spaces, what goes on from the row before by many more.
std::vector<std::string> page_help_rows(const std::string& help, const std::string& part) {
  std::vector<std::string> rows;
  bool inside = false;
  for (const std::string& line : page_lines(help)) {
    if (!line.empty() && line.front() != ' ') inside = line == part;
    if (!inside || !line.starts_with("  ") || line.size() < 3 || line[2] == ' ') continue;
    rows.push_back(line.substr(2, line.find(' ', 2) - 2));
  }
  return rows;
}

// "-h", "--help", and the names of what stands without a dash.
PageNames page_help_options(const std::string& help) {
  PageNames names;
  for (const std::string& row : page_help_rows(help, "Options:")) {
    std::istringstream parts(row);
    for (std::string name; std::getline(parts, name, ',');) names.insert(name);
  }
  for (const std::string& name : page_help_rows(help, "Positionals:")) names.insert(name);
  return names;
}

// From the heading with this text up to the next heading; empty if there is none.
std::string page_section(const std::string& page, const std::string& heading) {
  std::string section;
  bool inside = false, code = false;
  for (const std::string& line : page_lines(page)) {
    if (line.starts_with("```")) code = !code;
    if (!code && line.starts_with("#"))
      inside = line.substr(line.find_first_not_of('#')) == " " + heading;
    if (inside) section += line + "\n";
  }
  return section;
}

// Every word in backticks in the first column of the tables that begin with "| option |".
PageNames page_table_options(const std::string& section) {
  PageNames names;
  bool inside = false;
  for (const std::string& line : page_lines(section)) {
    if (!line.starts_with("|")) inside = false;
    if (line.starts_with("| option |")) inside = true;
    if (!inside) continue;
    std::istringstream cell(line.substr(1, line.find('|', 1) - 1));
    std::string word;
    for (bool quoted = false; std::getline(cell, word, '`'); quoted = !quoted)
      if (quoted) names.insert(word);
  }
  return names;
}

// A line for each name that only one of the two knows.
std::vector<std::string> page_differences(const PageNames& help, const PageNames& page) {
  std::vector<std::string> found;
  for (const std::string& name : help)
    if (!page.contains(name)) found.push_back(name + ": in the help, not on the page");
  for (const std::string& name : page)
    if (!help.contains(name)) found.push_back(name + ": on the page, not in the help");
  return found;
}

// The help text of a command ("check", "bench step", ...; "" is the program's own) and of all below
// it, as the help texts themselves name them.
std::map<std::string, std::string> page_help_texts(const std::string& command = "") {
  const ProgramResult result = run_lamp(command + " --help");
  EXPECT_EQ(result.exit_code, 0) << command << ": " << result.err;
  std::map<std::string, std::string> texts = {{command, result.out}};
  for (const std::string& name : page_help_rows(result.out, "Subcommands:"))
    texts.merge(page_help_texts(command.empty() ? name : command + " " + name));
  return texts;
}

// The commands that have a section.
PageNames page_headings(const std::string& page) {
  PageNames commands;
  for (const std::string& line : page_lines(page))
    if (const auto name = line.find(" lamp "); line.starts_with("##") && name != line.npos)
      commands.insert(line.substr(name + 6));
  return commands;
}

std::string page_text() {
  return text_of(std::filesystem::path(LAMP_SOURCE_DIR) / "docs" / "commands.md");
}

TEST(CommandsPageTest, NamesEveryCommandAndOptionAndNoOther) {
  const std::string page = page_text();
  auto helps = page_help_texts();
  // What stands before the command's name is told once.
  const PageNames everywhere = page_help_options(helps[""]);
  helps.erase("");
  EXPECT_TRUE(everywhere.contains("--json") && everywhere.contains("-q"));
  EXPECT_THAT(page_differences(everywhere,
                               page_table_options(page_section(page, "Options of every command"))),
              IsEmpty());
  EXPECT_GE(helps.size(), 14U);
  PageNames commands;
  for (const auto& [command, help] : helps) {
    commands.insert(command);
    PageNames options = page_help_options(help);
    EXPECT_TRUE(options.contains("--help")) << command;
    for (const std::string& name : everywhere) options.erase(name);
    const PageNames told = page_table_options(page_section(page, "lamp " + command));
    EXPECT_THAT(page_differences(options, told), IsEmpty()) << "lamp " << command;
  }
  EXPECT_THAT(page_differences(commands, page_headings(page)), IsEmpty());
}

TEST(CommandsPageTest, HasNoLineBeyond130Characters) {
  const auto characters = [](const std::string& line) {  // of UTF-8
    return std::count_if(line.begin(), line.end(), [](char c) { return (c & 0xC0) != 0x80; });
  };
  for (const std::string& line : page_lines(page_text())) EXPECT_LE(characters(line), 130) << line;
}

constexpr const char* kPageHelp =
    "copies things\n"
    "Usage: lamp copy [OPTIONS] source\n"
    "\n"
    "Positionals:\n"
    "  source TEXT REQUIRED        what to copy\n"
    "\n"
    "Options:\n"
    "  -o,--output TEXT REQUIRED   where to, as with --target of others\n"
    "  --paper Excludes: --forward --svg\n"
    "                              alone, --never with others\n"
    "\n"
    "Subcommands:\n"
    "  deep                        copies what --lies below\n";

constexpr const char* kPagePage =
    "## lamp copy\n"
    "With `--other` in its text.\n"
    "```sh\n"
    "# lamp copy\n"
    "```\n"
    "\n"
    "| option | value | meaning |\n"
    "|---|---|---|\n"
    "| `source` | file | what |\n"
    "| `-o`, `--output` | `--no-option` | where to |\n"
    "| `--paper` | | alone |\n"
    "\n"
    "| field | type |\n"
    "|---|---|\n"
    "| `copied` | integer |\n"
    "\n"
    "### lamp copy deep\n"
    "| option | value | meaning |\n"
    "|---|---|---|\n"
    "| `--far` | | |\n";

TEST(CommandsPageTest, ReadsAHelpTextAndASectionAlike) {
  const PageNames expected = {"source", "-o", "--output", "--paper"};
  EXPECT_EQ(page_help_options(kPageHelp), expected);
  EXPECT_EQ(page_table_options(page_section(kPagePage, "lamp copy")), expected);
  EXPECT_THAT(page_help_rows(kPageHelp, "Subcommands:"), ElementsAre("deep"));
  EXPECT_THAT(page_headings(kPagePage), ElementsAre("copy", "copy deep"));
}

TEST(CommandsPageTest, SeesAPlantedDifference) {
  const auto differences = [](std::string help, const std::string& page) {
    return page_differences(page_help_options(help),
                            page_table_options(page_section(page, "lamp copy")));
  };
  EXPECT_THAT(differences(kPageHelp, kPagePage), IsEmpty());
  const auto with = [](std::string text, const std::string& old, const std::string& now) {
    return text.replace(text.find(old), old.size(), now);
  };
  EXPECT_THAT(differences(with(kPageHelp, "--paper", "--papers"), kPagePage),
              ElementsAre("--papers: in the help, not on the page",
                          "--paper: on the page, not in the help"));
  EXPECT_THAT(differences(kPageHelp, with(kPagePage, "| `--paper` | | alone |\n", "")),
              ElementsAre("--paper: in the help, not on the page"));
  EXPECT_THAT(differences(kPageHelp, with(kPagePage, "`-o`, ", "`-o`, `-p`, ")),
              ElementsAre("-p: on the page, not in the help"));
  EXPECT_THAT(differences(kPageHelp, with(kPagePage, "## lamp copy", "## lamp copies")),
              ::testing::SizeIs(4));
}

}  // namespace
}  // namespace lamp::testing
