// A row for each setting that a message of the library names (tests/layering_test.cpp compares).
#include "lamp/cli/option_names.h"

namespace lamp {

const SettingNames& option_names() {
  static const SettingNames kNames = {
      {"absent_devices", "--devices"},
      {"allow_outside", "--allow-outside"},
      {"bandwidth", "--bandwidth"},
      {"batch", "--batch"},
      {"blend", "--blend"},
      {"config", "-c"},
      {"dataset", "-d"},
      {"device_memory", "--device-memory"},
      {"execution.device", "--device"},
      {"execution.microbatches", "--microbatches"},
      {"execution.partition", "--partition"},
      {"execution.precision", "--precision"},
      {"execution.recompute", "--recompute"},
      {"execution.schedule", "--schedule"},
      {"flops", "--flops"},
      {"format", "--format"},
      {"from", "--from"},
      {"input", "--input"},
      {"inputs", "-i"},
      {"json", "--json"},
      {"keep_largest", "--keep-largest"},
      {"kind", "--kind"},
      {"max_input", "--max-input"},
      {"measure", "--measure"},
      {"memory", "--memory"},
      {"mirror", "--tta"},
      {"missing", "--missing"},
      {"models", "-m"},
      {"orientation", "--orientation"},
      {"output", "-o"},
      {"overlap", "--overlap"},
      {"patch", "--patch"},
      {"plan", "--plan"},
      {"prediction", "-p"},
      {"preset", "--preset"},
      {"reference", "-r"},
      {"resume", "--resume"},
      {"series", "--series"},
      {"set", "--set"},
      {"size", "--size"},
      {"spacing", "--spacing"},
      {"stage", "--stage"},
      {"test", "--test"},
      {"test_cases", "--test-cases"},
      {"train", "--train"},
  };
  return kNames;
}

}  // namespace lamp
