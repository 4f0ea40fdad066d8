// Two tables of foreign words beside the edit distance of base/json.h.
#include "lamp/cli/suggestions.h"

#include <algorithm>
#include <array>
#include <utility>

#include "lamp/base/foreign_keys.h"
#include "lamp/base/json.h"
#include "lamp/base/text.h"

namespace lamp {
namespace {

using Row = std::pair<const char*, const char*>;

constexpr std::array kCommands = {
    Row{"predict", "segment"},   Row{"inference", "segment"},
    Row{"infer", "segment"},     Row{"segmentation", "segment"},
    Row{"run", "segment"},       Row{"apply", "segment"},
    Row{"fit", "train"},         Row{"training", "train"},
    Row{"finetune", "train"},    Row{"resume", "train --resume"},
    Row{"eval", "evaluate"},     Row{"score", "evaluate"},
    Row{"metrics", "evaluate"},  Row{"test", "evaluate"},
    Row{"validate", "check"},    Row{"verify", "check"},
    Row{"inspect", "info"},      Row{"show", "info"},
    Row{"summary", "info"},      Row{"describe", "info"},
    Row{"convert", "prepare"},   Row{"preprocess", "prepare"},
    Row{"import", "prepare"},    Row{"generate", "synth"},
    Row{"phantom", "synth"},     Row{"benchmark", "bench"},
    Row{"profile", "bench"},     Row{"balance", "plan"},
    Row{"partition", "plan"},    Row{"help", "--help"},
    Row{"version", "--version"},
};

// By option; what stands behind it is for the user to read.
constexpr std::array kOptions = {
    Row{"--gpu", "--device cuda:0"},
    Row{"--gpus", "--device cuda:0,cuda:1"},
    Row{"--num-gpus", "--device cuda:0,cuda:1"},
    Row{"--cuda", "--device cuda"},
    Row{"--cpu", "--device cpu"},
    Row{"--data", "--dataset"},
    Row{"--data-dir", "--dataset"},
    Row{"--input-folder", "--input"},
    Row{"--images", "--input"},
    Row{"--output-folder", "--output"},
    Row{"--output-dir", "--output"},
    Row{"--out", "--output"},
    Row{"--out-dir", "--output"},
    Row{"--model-dir", "--model"},
    Row{"--checkpoint", "--model"},
    Row{"--weights", "--model"},
    Row{"--roi-size", "--patch"},
    Row{"--patch-size", "--patch"},
    Row{"--window-size", "--patch"},
    Row{"--step-size", "--overlap"},
    Row{"--sw-overlap", "--overlap"},
    Row{"--mirror", "--tta"},
    Row{"--test-time-augmentation", "--tta"},
    Row{"--save-softmax", "--save-probabilities"},
    Row{"--fp16", "--precision fp16"},
    Row{"--bf16", "--precision bf16"},
    Row{"--amp", "--precision auto"},
    Row{"--continue", "--resume"},
    Row{"--random-seed", "--seed"},
    Row{"--num-threads", "--threads"},
    Row{"--predictions", "--prediction"},
    Row{"--gt", "--reference"},
    Row{"--ground-truth", "--reference"},
    Row{"--labels", "--reference"},
    Row{"--chunks", "--microbatches"},
};

template <std::size_t N>
std::string suggested_row(const std::array<Row, N>& rows, const std::string& word) {
  const auto found =
      std::find_if(rows.begin(), rows.end(), [&](const Row& row) { return word == row.first; });
  return found == rows.end() ? "" : found->second;
}

std::vector<std::string> command_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands(nullptr)) names.push_back(command->get_name());
  return names;
}

std::string quoted(const std::string& word) { return "\"" + printable(word.substr(0, 60)) + "\""; }

// Whether the option takes a value, which then is no command.
bool takes_value(const CLI::App& app, const std::string& word) {
  if (word.find('=') != std::string::npos) return false;
  const CLI::Option* option = app.get_option_no_throw(word);
  return option != nullptr && option->get_items_expected_max() > 0;
}

std::string with_dashes(std::string word) {
  word = word.substr(0, word.find('='));
  std::replace(word.begin(), word.end(), '_', '-');
  return word;
}

// The command in use, the deepest one.
const CLI::App& command_in_use(const CLI::App& app) {
  const auto used = app.get_subcommands();
  return used.empty() ? app : command_in_use(*used.front());
}

std::vector<std::string> option_names(const CLI::App& app, const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::App* owner : {&command, &app})
    for (const CLI::Option* option : owner->get_options())
      for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  return names;
}

// By the letters: all begin with the same dashes.
std::string close_option(const std::string& word, const std::vector<std::string>& known) {
  const auto letters = [](const std::string& name) {
    return name.substr(std::min(name.find_first_not_of('-'), name.size()));
  };
  std::vector<std::string> names;
  for (const std::string& name : known) names.push_back(letters(name));
  const std::string close = close_match(letters(word), names);
  return close.empty() ? "" : "--" + close;
}

std::string advice_for_option(const std::string& option, const std::vector<std::string>& known) {
  const auto has = [&](const std::string& text) {
    return std::find(known.begin(), known.end(), text.substr(0, text.find(' '))) != known.end();
  };
  const std::string word = with_dashes(option);
  if (const std::string row = suggested_row(kOptions, word); !row.empty() && has(row)) return row;
  if (const std::string close = close_option(word, known); !close.empty()) return close;
  const std::string place =
      place_of_foreign_key(word.substr(std::min<std::size_t>(2, word.size())));
  return !place.empty() && has("--set") ? "--set " + place + "=..." : "";
}

// "--jobs=3" without its value; of "-qv", which are two, the first.
std::string option_of(const std::string& word) {
  return word.starts_with("--") ? word.substr(0, word.find('=')) : word.substr(0, 2);
}

// An option of a command stands behind its name. `rest` are the words behind the option.
std::string early_option(const CLI::App& app, const std::string& option,
                         const std::vector<std::string>& rest) {
  const std::vector<std::string> names = command_names(app);
  std::vector<std::string> owners;
  for (const std::string& name : names)
    if (app.get_subcommand(name)->get_option_no_throw(option) != nullptr) owners.push_back(name);
  const auto named = std::find_if(rest.begin(), rest.end(), [&](const std::string& word) {
    return std::find(owners.begin(), owners.end(), word) != owners.end();
  });
  if (!owners.empty())
    return quoted(option) + " is an option of " + joined(owners) +
           " and stands behind the command, as in \"lamp " +
           (named == rest.end() ? owners.front() : *named) + " " + option + "\". See lamp --help";
  const std::string known = close_option(with_dashes(option), option_names(app, app));
  std::string meant = known.empty() ? "" : "lamp " + known;
  for (const std::string& name : {std::string("train"), std::string("segment")}) {
    if (!meant.empty()) break;
    const std::string found =
        advice_for_option(option, option_names(app, *app.get_subcommand(name)));
    if (!found.empty()) meant = "lamp " + name + " " + found;
  }
  return quoted(option) + " is no option of lamp; " +
         (meant.empty()
              ? "the commands are " + joined(names) + ", and their options stand behind them."
              : "did you mean \"" + meant + "\"?") +
         " See lamp --help";
}

}  // namespace

std::optional<std::string> unknown_command(const CLI::App& app, int argc, const char* const* argv) {
  const std::vector<std::string> names = command_names(app);
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word.starts_with('-')) {
      const std::string option = option_of(word);
      if (word.size() > 1 && word != "--" && app.get_option_no_throw(option) == nullptr)
        return early_option(app, option, {argv + i + 1, argv + argc});
      if (takes_value(app, word)) ++i;
      continue;
    }
    if (std::find(names.begin(), names.end(), word) != names.end()) return std::nullopt;
    std::string meant = suggested_row(kCommands, word);
    if (meant.empty()) meant = close_match(word, names);
    return quoted(word) + " is no command; " +
           (meant.empty() ? "the commands are " + joined(names) + "."
                          : "did you mean \"lamp " + meant + "\"?") +
           " See lamp --help";
  }
  return std::nullopt;
}

std::optional<std::string> unknown_option(const CLI::App& app) {
  const CLI::App& command = command_in_use(app);
  for (const std::string& word : app.remaining(/*recurse=*/true)) {
    if (!word.starts_with("--") || word == "--") continue;
    const std::string meant = advice_for_option(word, option_names(app, command));
    const std::string name = &command == &app ? "lamp" : "lamp " + command.get_name();
    return quoted(word) + " is no option of " + name +
           (meant.empty() ? "." : "; did you mean \"" + meant + "\"?") + " See " + name + " --help";
  }
  return std::nullopt;
}

}  // namespace lamp
