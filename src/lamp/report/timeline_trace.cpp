// Written as text: a large timeline would be slow and big as a tree of JSON values.
#include "lamp/base/json.h"
#include "lamp/base/text.h"
#include "lamp/report/timeline.h"

namespace lamp {
namespace {

std::string quoted(const std::string& text) { return dump_json(Json(text), -1); }

std::string name_event(int process, int thread, const std::string& name) {
  return "{\"name\": \"thread_name\", \"ph\": \"M\", \"pid\": " + std::to_string(process) +
         ", \"tid\": " + std::to_string(thread) + ", \"args\": {\"name\": " + quoted(name) + "}}";
}

std::string bar_event(const TimelineBar& bar) {
  constexpr double kMicroseconds = 1e6;
  const bool moves = bar.kind == "transfer";
  return "{\"name\": " + quoted(bar.kind + " " + std::to_string(bar.microbatch)) +
         ", \"cat\": " + quoted(bar.kind) + ", \"ph\": \"X\", \"pid\": " + (moves ? "1" : "0") +
         ", \"tid\": " + std::to_string(bar.stage) +
         ", \"ts\": " + shortest(bar.start_s * kMicroseconds) +
         ", \"dur\": " + shortest((bar.end_s - bar.start_s) * kMicroseconds) +
         ", \"args\": {\"microbatch\": " + std::to_string(bar.microbatch) +
         (moves ? ", \"to_stage\": " + std::to_string(bar.to_stage) : "") + "}}";
}

}  // namespace

std::string timeline_trace(const TimelinePicture& picture) {
  std::string text =
      "{\"displayTimeUnit\": \"ms\", \"otherData\": {\"title\": " + quoted(picture.title) +
      "}, \"traceEvents\": [\n";
  for (int stage = 0; stage < picture.stages; ++stage) {
    const std::string number = std::to_string(stage);
    text += name_event(0, stage, "stage " + number) + ",\n" +
            name_event(1, stage, "sent by stage " + number) + ",\n";
  }
  text +=
      "{\"name\": \"process_name\", \"ph\": \"M\", \"pid\": 0, \"args\": {\"name\": "
      "\"stages\"}},\n{\"name\": \"process_name\", \"ph\": \"M\", \"pid\": 1, \"args\": "
      "{\"name\": \"links\"}}";
  for (const TimelineBar& bar : picture.bars) text += ",\n" + bar_event(bar);
  return text + "\n]}\n";
}

}  // namespace lamp
