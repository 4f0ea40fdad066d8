// Keys of a configuration are no options, so they stay as they are.
#include "lamp/training/fit_words.h"

#include "lamp/base/setting_name.h"
#include "lamp/base/text.h"

namespace lamp {

std::string FitWords::of_stage(const std::string& key, const std::string& value) const {
  return "curriculum." + std::to_string(*stage_) + "." + key + "=" + value;
}

std::string FitWords::of_execution(const std::string& key, const std::string& value) const {
  const std::string place = "execution." + key;
  return stage_ ? place + "=" + value : setting_to(place, value);
}

std::string FitWords::batch(std::int64_t samples) const {
  const std::string value = std::to_string(samples);
  return stage_ ? of_stage("batch", value) : setting_to("batch", value);
}

std::string FitWords::patch(const Size3& size) const {
  return stage_ ? of_stage("patch", "[" + size_text(size) + "]")
                : setting_to("input", size_text(size));
}

std::string FitWords::microbatches(std::int64_t count) const {
  return of_execution("microbatches", std::to_string(count));
}

std::string FitWords::schedule(const std::string& name) const {
  return of_execution("schedule", name);
}

std::string FitWords::device(const std::string& devices) const {
  return of_execution("device", devices);
}

}  // namespace lamp
