// A row for each command that takes more memory for larger work.
#include "lamp/cli/memory_words.h"

#include <algorithm>
#include <array>

namespace lamp {
namespace {

struct Words {
  const char* command;
  const char* work;     // what it was doing
  const char* way_out;  // that the command has
};

constexpr std::array<Words, 12> kWords = {{
    {"synth", "drawing phantoms", "use a smaller --size"},
    {"prepare", "converting a case", "crop or resample the largest images first"},
    {"check", "checking a case", "crop or resample the largest images first"},
    {"train", "training",
     "use a smaller batch or patch (curriculum.0.batch, curriculum.0.patch), a narrower network "
     "(net.width) or more devices; lamp plan says what fits"},
    {"segment", "segmenting", "use --patch auto or a smaller --patch"},
    {"evaluate", "comparing label maps", "crop both label maps, or give a coarser grid to both"},
    {"plan", "planning",
     "use a smaller --batch, --input or --width, or --costs shapes, which measures nothing"},
    {"bench step", "a training step", "use a smaller --batch, --input or --width"},
    {"bench segment", "segmenting", "use a smaller --input, --patch or --width"},
    {"bench input", "loading batches",
     "use a smaller batch or patch (--set curriculum.0.batch=1, --set curriculum.0.patch=[X,Y,Z])"},
    {"experiment", "the experiment",
     "use --scale small or a narrower network (--set train.net.width=8)"},
    {"simulate", "the simulation", "use fewer --stages or --microbatches"},
}};

}  // namespace

std::string out_of_memory_words(const std::string& command, const std::string& asked_for) {
  const auto known = std::find_if(kWords.begin(), kWords.end(),
                                  [&](const Words& row) { return row.command == command; });
  const bool is_known = known != kWords.end();
  return "out of memory: " +
         (is_known          ? std::string(known->work)
          : command.empty() ? "the program"
                            : "lamp " + command) +
         " asked for " + (asked_for.empty() ? "more" : asked_for + " more") + " than there is; " +
         (is_known ? std::string(known->way_out) + ", or " : "") +
         "free memory or raise its limit (ulimit -v)";
}

}  // namespace lamp
