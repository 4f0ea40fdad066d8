// `lamp segment`: options, one call, the report.
#include <memory>
#include <string>
#include <vector>

#include "lamp/base/device.h"
#include "lamp/base/text.h"
#include "lamp/cli/commands.h"
#include "lamp/cli/orientation_option.h"
#include "lamp/cli/output_options.h"
#include "lamp/execution/execution_config.h"
#include "lamp/execution/segment_plan.h"
#include "lamp/inference/segmenter.h"
#include "lamp/inference/test_time_mirroring.h"

namespace lamp {
namespace {

struct SegmentLine {
  std::vector<std::string> models;
  std::vector<std::string> inputs;
  std::string output;
  std::string patch = "auto";
  std::string blend = "gaussian";
  std::string memory;
  std::string mirror;
  std::string series;
  SegmentExecution execution;
  std::string plan;
  SegmentOptions segment;
};

// Of the devices that the options name.
void take_split(SegmentOptions& options, const std::string& split) {
  const DeviceGrid grid =
      grid_of({.split = parse_segment_split(split)}, std::ssize(parse_devices(options.device)));
  options.replicas = static_cast<int>(grid.replicas);
  options.slabs = static_cast<int>(grid.slabs);
}

SegmentRequest request_of(const SegmentLine& options) {
  SegmentRequest request{
      .inputs = options.inputs, .output = options.output, .options = options.segment};
  request.dicom_series = options.series;
  request.options.patch = parse_patch(options.patch);
  request.options.blend = parse_blend(options.blend);
  if (!options.memory.empty())
    request.options.memory_bytes = parse_memory(options.memory, "--memory");
  if (!options.mirror.empty()) request.options.mirror = parse_mirror_request(options.mirror);
  const SegmentExecution& given = options.execution;
  if (!given.device.empty()) request.options.device = given.device;
  if (!given.layout.empty()) request.options.layout = given.layout;
  if (!given.precision.empty())
    request.options.precision =
        chosen_precision(given.precision, parse_devices(request.options.device).front());
  if (options.plan.empty()) take_split(request.options, given.split);
  check_options(request.options);
  return request;
}

void run_segment(const SegmentLine& options, const GlobalOptions& globals) {
  SegmentRequest request = request_of(options);
  std::vector<SegmentModel> models;
  std::vector<NetConfig> nets;
  for (const std::string& file : options.models) {
    models.push_back({file, load_model(file)});
    nets.push_back(models.back().model.network.config);
  }
  if (!options.plan.empty()) {
    const SegmentExecution planned = obey_plan(options.plan, nets, options.execution);
    request.options.device = planned.device;
    request.options.precision = planned.precision;
    request.options.layout = planned.layout;
    take_split(request.options, planned.split);
  }
  const SegmentReport report = segment_all(models, request);
  if (globals.json) print_json(report.to_json());
  report.throw_if_failed();
}

void add_cleaning_options(CLI::App& command, SegmentLine& options) {
  Cleanup& cleanup = options.segment.cleanup;
  command
      .add_option(
          "--keep-largest", cleanup.keep_largest,
          "keep only the largest piece of these labels (ids or names); alone: of every label. "
          "Default: off")
      ->expected(0, -1)
      ->delimiter(',')
      ->option_text("[LABELS]")
      ->default_str("all");
  command.add_option("--min-volume-mm3", cleanup.min_volume_mm3, "remove pieces smaller than this");
}

void add_network_options(CLI::App& command, SegmentLine& options) {
  command.add_option("--patch", options.patch, "auto, whole or a window X,Y,Z")
      ->capture_default_str();
  command
      .add_option("--overlap", options.segment.overlap, "share of a window seen again by the next")
      ->capture_default_str();
  command.add_option("--blend", options.blend, "gaussian or constant")->capture_default_str();
  command.add_option("--precision", options.execution.precision, "fp32, bf16, fp16 or auto")
      ->default_str("fp32");
  command
      .add_option("--layout", options.execution.layout,
                  "order of the network's tensors: auto (measured), channels_last or contiguous")
      ->default_str("auto");
  command.add_option("--memory", options.memory,
                     "the most to use, such as 8GiB; default: 80 % of what is available");
  command
      .add_option("--device", options.execution.device,
                  "auto, cpu, cuda:0 or several, such as cuda:0,cuda:1: one stage of the "
                  "network on each, or as --split says")
      ->default_str("auto");
  command.add_option(
      "--split", options.execution.split,
      "replicas=R,stages=K,slabs=L: replicas share cases and windows, slabs share the "
      "planes of each; default: every device is a stage");
  command
      .add_option("--plan", options.plan,
                  "device, split, precision, layout and threads of what lamp plan -o wrote here")
      ->check(CLI::ExistingFile);
  command
      .add_option("--tta", options.mirror,
                  "also segment copies mirrored along axes such as x,y and average; alone: along "
                  "those that training mirrored. Default: off")
      ->expected(0, 1)
      ->option_text("[AXES]")
      ->default_str("trained");  // what --tta alone means
}

}  // namespace

void add_segment_command(CLI::App& app, const GlobalOptions& globals) {
  CLI::App* command =
      app.add_subcommand("segment", "label maps of images, on the images' own grids");
  auto options = std::make_shared<SegmentLine>();
  command
      ->add_option("-m,--model", options->models, "run folder or model file; several are averaged")
      ->required();
  command->add_option("-i,--input", options->inputs, "images, folders of images, DICOM folders")
      ->required();
  command
      ->add_option("-o,--output", options->output,
                   "folder for the label maps and segment.json; or one label map's name")
      ->required()
      ->check(names_an_output());
  command->add_option(
      "--series", options->series,
      "which of several DICOM series in a folder: UID, place in the list or SeriesNumber");
  add_network_options(*command, *options);
  command->add_option("--format", options->segment.format,
                      "nii.gz, nii, nrrd or mha; default: as -o ends, or nii.gz");
  command->add_flag("--save-probabilities", options->segment.save_probabilities,
                    "also <case>_prob: the softmax of every class");
  command->add_flag("--preview", options->segment.preview,
                    "also <case>.png: a picture of each result");
  add_cleaning_options(*command, *options);
  add_orientation_option(*command, options->segment.nifti_form);
  command->callback([options, &globals] { run_segment(*options, globals); });
}

}  // namespace lamp
