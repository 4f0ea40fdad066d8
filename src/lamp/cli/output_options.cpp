#include "lamp/cli/output_options.h"

#include "lamp/base/files.h"
#include "lamp/report/timeline_svg.h"
#include "lamp/report/timeline_trace.h"

namespace lamp {

CLI::Validator names_an_output() {
  return {[](std::string& name) -> std::string {
            if (name.empty()) return "found an empty name, expected a file or folder";
            if (name == "-")
              return "found \"-\", expected a file; --json prints to the standard output";
            return "";
          },
          ""};
}

void add_options(CLI::App& command, PictureFiles& files, const std::string& what) {
  command.add_option("--svg", files.svg, "draw " + what)->check(names_an_output());
  command
      .add_option("--trace", files.trace,
                  "write it as a Chrome trace (chrome://tracing, ui.perfetto.dev)")
      ->check(names_an_output());
}

OutputList picture_outputs(const PictureFiles& files) {
  OutputList outputs;
  if (!files.svg.empty()) outputs.add({"--svg", files.svg, own_svg()});
  if (!files.trace.empty()) outputs.add({"--trace", files.trace, own_json(kTraceWriter)});
  return outputs;
}

void write_picture_files(const PictureFiles& files, const TimelinePicture& picture) {
  OutputList outputs = picture_outputs(files);
  outputs.check();
  outputs.make_folders();
  if (!files.svg.empty()) write_file(files.svg, svg_written_by_lamp(timeline_svg(picture)));
  if (!files.trace.empty()) write_file(files.trace, timeline_trace(picture));
}

}  // namespace lamp
