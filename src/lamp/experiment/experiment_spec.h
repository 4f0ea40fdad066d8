// What an experiment consists of, as a JSON document says it: data, training settings shared by all
// conditions, the conditions that differ from each other, timings, a control, and the claims that
// the results are held against. The presets are configs/experiments/*.json; a file of the same form
// works as well.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lamp/base/json.h"
#include "lamp/base/size3.h"
#include "lamp/inference/patch_choice.h"
#include "lamp/nets/network.h"
#include "lamp/phantoms/phantom.h"

namespace lamp {

// A row of a Dice table: one way to train and segment, repeated for every seed.
struct Condition {
  std::string name;         // "U-Net-8 (16³)"
  Json train;               // a whole training configuration, without its seed
  std::string patch;        // of inference: "whole" or "X,Y,Z"
  double overlap = 0.5;     // of windows
  double hide = 0;          // share of the annotations taken away (convert/hidden_annotations.h)
  double complete = 0;      // share of the cases that keep all of theirs
  bool as_missing = true;   // the loss knows of it; false: what is hidden passes for background
  std::string starts_from;  // an earlier condition whose trained run this one goes on with
  std::string paper;        // the row of the paper's table that this one stands for
};

// A row of a table of inference seconds.
struct Timing {
  std::string name;
  NetConfig net;
  Size3 input;                 // x, y, z of the volume
  std::optional<Size3> patch;  // of windows; none = whole
  double overlap = 0.5;
  std::string paper;
};

// Can a small classifier tell a patch's label from the patch alone (patch_probe.h)?
struct Control {
  std::vector<Size3> patches;
  int train_cases = 150;
  int test_cases = 150;
  int steps = 250;
};

// Something that is to be seen in the results.
struct Claim {
  // kBetter: the mean average Dice is larger by more than the spread over the seeds. kAhead: the
  // average Dice of every seed is larger than that of every seed of the other (the strictest
  // outcome of a rank-sum test, which one run gone astray does not upset). kNotWorse: the mean is
  // not smaller by more than the spread. kFaster: mean seconds at least `times` smaller. kChance:
  // the control on this patch stays at chance.
  enum Kind { kBetter, kAhead, kNotWorse, kFaster, kChance };
  std::string text;
  Kind kind = kBetter;
  std::string first, second;  // rows; kChance: the patch "16,16,16"
  double times = 1;
};

// A published table, to print beside.
struct PaperTable {
  std::string title;
  std::vector<std::string> columns;
  std::vector<std::pair<std::string, std::vector<std::string>>> rows;  // name, one cell a column

  // The last column of a row, which is the average or the only one; empty if there is no such row.
  std::string last_of(const std::string& row) const;
};

struct Experiment {
  std::string title;
  std::vector<std::string> about;          // paragraphs
  std::optional<PhantomOptions> phantoms;  // none: a data set must be given
  std::vector<std::uint64_t> seeds;
  std::vector<Condition> conditions;
  std::vector<Timing> timings;
  int rounds = 3;  // of every timing, after a warm-up
  std::optional<Control> control;
  std::vector<Claim> claims;
  std::vector<PaperTable> paper;
};

// Throws UsageError for unknown keys, wrong types, a condition named twice, claims about rows that
// are not there, and whatever parse_train_config refuses.
Experiment parse_experiment(const Json& json);

// The text of a preset ("context-small"); nothing if there is none of that name.
std::optional<std::string> experiment_text(const std::string& name);
std::vector<std::string> experiment_names();

}  // namespace lamp
