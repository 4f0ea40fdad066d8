// How advice on memory names the settings that may help: a training's are keys of its
// configuration, `lamp bench` has names of its own for them (base/setting_name.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "lamp/base/size3.h"

namespace lamp {

class FitWords {
 public:
  // Of a stage of the curriculum, counted from 0; nothing = of a single step.
  explicit FitWords(std::optional<std::size_t> stage = std::nullopt) : stage_(stage) {}

  // Each is a setting with its value, as one writes it: "curriculum.0.batch=4", "batch=4".
  std::string batch(std::int64_t samples) const;
  std::string patch(const Size3& size) const;
  std::string microbatches(std::int64_t count) const;
  std::string schedule(const std::string& name) const;
  std::string device(const std::string& devices) const;

 private:
  std::string of_stage(const std::string& key, const std::string& value) const;
  std::string of_execution(const std::string& key, const std::string& value) const;

  std::optional<std::size_t> stage_;
};

}  // namespace lamp
