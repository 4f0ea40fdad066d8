// Data first, then cell after cell; the tables are written after each.
#include "lamp/experiment/experiment.h"

#include <ATen/Parallel.h>
#include <torch/version.h>

#include <ctime>
#include <fstream>
#include <system_error>
#include <utility>

#include "lamp/base/device.h"
#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/interrupt.h"
#include "lamp/base/log.h"
#include "lamp/base/output_lock.h"
#include "lamp/base/own_output.h"
#include "lamp/base/setting_name.h"
#include "lamp/base/sha256.h"
#include "lamp/base/text.h"
#include "lamp/cases/preprocess.h"
#include "lamp/convert/hidden_annotations.h"
#include "lamp/dataset/datalist.h"
#include "lamp/dataset/dataset_paths.h"
#include "lamp/experiment/cell_store.h"
#include "lamp/experiment/cleared_folder.h"
#include "lamp/experiment/dice_cell.h"
#include "lamp/experiment/experiment_spec.h"
#include "lamp/experiment/patch_probe.h"
#include "lamp/experiment/results.h"
#include "lamp/phantoms/phantom.h"
#include "lamp/training/bench.h"
#include "lamp/training/train_config.h"

namespace lamp {
namespace {

namespace fs = std::filesystem;

constexpr const char* kWriter = "lamp experiment";
constexpr const char* kFolderMark = ".lamp-experiment";

std::string processor_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);)
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  return "unknown processor";
}

std::string today() {
  const std::time_t now = std::time(nullptr);
  char text[16];
  std::strftime(text, sizeof text, "%Y-%m-%d", std::gmtime(&now));
  return text;
}

// Phantoms, or what the user has; and where the test cases' labels are.
struct ExperimentData {
  fs::path json;
  fs::path references;
  Json key;  // what the cells depend on
};

class Runner {
 public:
  Runner(const ExperimentRequest& request, Experiment experiment)
      : request_(request),
        experiment_(std::move(experiment)),
        cells_(request.folder),
        results_{.experiment = experiment_} {
    results_.provenance = {
        {"machine", processor_name() + ", " + counted(at::get_num_threads(), "thread") +
                        ", device " + request.device},
        {"torch", TORCH_VERSION},
        {"date", today()},
        {"seeds", experiment_.seeds}};
  }

  Json run() {
    refuse_foreign_folder();
    if (!experiment_.conditions.empty()) find_data();
    OutputLock lock(request_.folder);
    make_output_folder(request_.folder);
    lock.start();
    for (const fs::path& part : {request_.folder, request_.folder / "cells"})
      remove_stale_temporaries(part);
    write_file(folder_mark(), dump_json(written_by(kWriter, Json::object())) + "\n");
    publish();
    if (experiment_.control) run_controls();
    for (const Timing& timing : experiment_.timings) run_timing(timing);
    if (!experiment_.conditions.empty()) {
      write_data();
      // Seed after seed, so that an early look shows every row.
      for (const std::uint64_t seed : experiment_.seeds)
        for (const Condition& condition : experiment_.conditions) run_condition(condition, seed);
    }
    return results_json(results_);
  }

 private:
  // The cell's result, kept or new.
  template <typename Work>
  Json cell(const std::string& name, const Json& settings, const Work& work) {
    if (auto kept = cells_.find(name, settings)) {
      log_info(name + ": kept");
      return *kept;
    }
    throw_if_interrupted("finished cells are kept: run it again to go on");
    log_info(name);
    const Json result = work();
    cells_.save(name, settings, result);
    return result;
  }

  fs::path folder_mark() const { return request_.folder / kFolderMark; }

  bool has_own_mark() const {
    std::error_code error;
    return fs::is_regular_file(fs::symlink_status(folder_mark(), error)) &&
           own_json(kWriter)(folder_mark());
  }

  // Whatever an experiment writes, moves or removes lies in a folder that is its own.
  void refuse_foreign_folder() const {
    std::error_code error;
    const fs::path& folder = request_.folder;
    // A link to itself, a name that is too long, a parent that may not be entered.
    if (fs::status(folder, error).type() == fs::file_type::none)
      throw UsageError("experiment " + setting_name("output") + ": " + folder.string() + ": " +
                       error.message() + "; choose another folder");
    if (!fs::exists(folder, error) || has_own_mark()) return;
    if (!fs::is_directory(folder, error))
      throw UsageError("experiment " + setting_name("output") + ": " + folder.string() +
                       ": found a file, expected a folder, new, empty or an experiment's");
    for (const auto& entry : fs::directory_iterator(folder, error)) {
      if (is_temporary_name(entry.path()) || is_lock_file(entry.path())) continue;
      throw UsageError("experiment " + setting_name("output") + ": found " + entry.path().string() +
                       ", expected an empty folder or one that lamp experiment began; choose "
                       "another folder");
    }
  }

  // Says what is missing, or in the way, before anything is written.
  void find_data() {
    if (!request_.dataset.empty()) {
      const Dataset dataset = read_dataset(request_.dataset);
      data_ = {dataset.file, dataset.root / "labelsTs", key_of(dataset)};
      if (dataset.test.empty())
        throw InputError({.file = dataset.file.string(),
                          .what = "no test cases",
                          .found = "an empty \"test\" list",
                          .expected = "some for an experiment",
                          .fix = "make them with lamp prepare " + setting_name("test")});
      if (!fs::is_directory(data_.references))
        throw InputError({.file = data_.references.string(),
                          .what = "no labels of test cases",
                          .found = "none",
                          .expected = "some for an experiment to compare its segmentations with",
                          .fix = "let lamp prepare put them there"});
      return;
    }
    if (!experiment_.phantoms)
      throw UsageError("experiment: this one needs real data: name a data set with " +
                       setting_name("dataset"));
    const fs::path folder = request_.folder / "data" / "phantoms";
    data_ = {folder / "dataset.json", folder / "labelsTs", key_of(*experiment_.phantoms)};
    if (fs::exists(folder) && !fs::exists(phantoms_mark()))
      throw UsageError(setting_to("output", request_.folder.string()) + ": " + folder.string() +
                       " is not an experiment's; choose another folder");
  }

  fs::path phantoms_mark() const { return request_.folder / "data" / "phantoms.json"; }

  void write_data() {
    if (!request_.dataset.empty()) return;
    PhantomOptions phantoms = *experiment_.phantoms;
    phantoms.folder = request_.folder / "data" / "phantoms";
    const fs::path mark = phantoms_mark();
    if (fs::exists(mark) && fs::exists(data_.json) && read_json(mark) == data_.key) return;
    make_output_folder(mark.parent_path());
    write_file(mark, "\"unfinished\"\n");  // the folder is ours, whatever interrupts
    clear_folder(phantoms.folder, is_phantom_file);
    write_phantoms(phantoms);
    write_file(mark, dump_json(data_.key) + "\n");
  }

  // Changes with the list of cases and the sizes of their files.
  static Json key_of(const Dataset& dataset) {
    std::string text = read_file(dataset.file);
    const auto add = [&](const fs::path& file) {
      std::error_code error;
      text += file.filename().string() + " " + std::to_string(fs::file_size(file, error)) + "\n";
    };
    for (const auto* cases : {&dataset.training, &dataset.test})
      for (const Case& entry : *cases) {
        for (const fs::path& image : entry.images) add(image);
        if (!entry.label.empty()) add(entry.label);
        add(dataset.root / "labelsTs" / (entry.name + ".nii.gz"));
      }
    return {{"dataset", fs::absolute(dataset.file).string()}, {"sha256", sha256(text)}};
  }

  static Json key_of(const PhantomOptions& phantoms) {
    return {{"kind", phantoms.kind},
            {"size", phantoms.size},
            {"train", phantoms.train},
            {"test", phantoms.test},
            {"seed", phantoms.seed}};
  }

  // The data set of a condition: the experiment's own, or a copy with annotations taken away.
  fs::path dataset_of(const Condition& condition) const {
    if (condition.hide == 0) return data_.json;
    const std::string name =
        "hidden-" + shortest(condition.hide) +
        (condition.complete > 0 ? "-complete-" + shortest(condition.complete) : "") +
        (condition.as_missing ? "-missing" : "-background");
    const fs::path folder = request_.folder / "data" / name;
    const fs::path mark = folder / "source.json";
    if (!fs::exists(mark) || read_json(mark) != data_.key) {
      hide_annotations(read_dataset(data_.json), {.share = condition.hide,
                                                  .complete = condition.complete,
                                                  .declared = condition.as_missing,
                                                  .folder = folder});
      write_file(mark, dump_json(data_.key) + "\n");
    }
    trust_dataset(folder / "dataset.json");  // its images lie in the original's folder
    return folder / "dataset.json";
  }

  static std::string cell_name(const std::string& row, std::uint64_t seed) {
    return row + ", seed " + std::to_string(seed);
  }

  fs::path run_of(const std::string& row, std::uint64_t seed) const {
    return request_.folder / "runs" / file_stem(cell_name(row, seed));
  }

  // All that a result depends on: not on the device, the cut, the loaders and the checkpoints.
  Json settings_of(const Condition& condition, std::uint64_t seed) const {
    Json settings = {{"data", data_.key},
                     {"train", condition.train},
                     {"patch", condition.patch},
                     {"overlap", condition.overlap},
                     {"hide", condition.hide},
                     {"as_missing", condition.as_missing},
                     {"seed", seed}};
    if (condition.complete > 0) settings["complete_cases"] = condition.complete;
    settings["precision"] = condition.train["execution"]["precision"];
    for (const char* key : {"execution", "loader", "checkpoint"}) settings["train"].erase(key);
    for (const Condition& other : experiment_.conditions)
      if (other.name == condition.starts_from) settings["starts_from"] = settings_of(other, seed);
    return settings;
  }

  void run_condition(const Condition& condition, std::uint64_t seed) {
    const std::string name = cell_name(condition.name, seed);
    const Json settings = settings_of(condition, seed);
    Json result = cell(name, settings, [&] {
      return run_dice_cell({.name = name,
                            .settings = settings,
                            .condition = condition,
                            .seed = seed,
                            .dataset = dataset_of(condition),
                            .references = data_.references,
                            .run = run_of(condition.name, seed),
                            .starts_run = condition.starts_from.empty()
                                              ? fs::path()
                                              : run_of(condition.starts_from, seed),
                            .predictions = request_.folder / "predictions" / file_stem(name),
                            .device = request_.device});
    });
    result["seed"] = seed;
    results_.dice[condition.name].push_back(std::move(result));
    publish();
  }

  void run_timing(const Timing& timing) {
    const Json settings = {{"net", to_json(timing.net)},
                           {"input", timing.input},
                           {"patch", timing.patch ? size_text(*timing.patch) : "whole"},
                           {"overlap", timing.overlap},
                           {"rounds", experiment_.rounds},
                           {"device", request_.device},
                           {"machine", results_.provenance["machine"]}};
    results_.timings[timing.name] = cell(timing.name, settings, [&] {
      BenchOptions options{.net = timing.net, .input = timing.input, .rounds = experiment_.rounds};
      options.execution.device = request_.device;
      if (timing.patch)
        options.window = WindowOptions{.size = *timing.patch, .overlap = timing.overlap};
      const Json bench = bench_segment(options);
      return Json{{"seconds", bench["seconds"]}, {"peak_bytes", bench["peak_bytes"]}};
    });
    publish();
  }

  void run_controls() {
    if (!experiment_.phantoms || experiment_.conditions.empty())
      throw UsageError("experiment: a control needs phantoms and a condition");
    const Json data = experiment_.conditions.front().train["data"];
    for (const auto& patch : experiment_.control->patches) {
      const Control& control = *experiment_.control;
      const std::string text = size_text(patch);
      const PhantomOptions& phantoms = *experiment_.phantoms;
      const Json settings = {{"kind", phantoms.kind},
                             {"size", phantoms.size},
                             {"phantom_seed", phantoms.seed},
                             {"data", data},
                             {"patch", text},
                             {"train", control.train_cases},
                             {"test", control.test_cases},
                             {"steps", control.steps}};
      results_.control[text] = cell("control " + text, settings, [&] {
        const ProbeResult probe = probe_patches({.phantoms = phantoms,
                                                 .data = parse_data_config(data),
                                                 .patch = patch,
                                                 .train_cases = control.train_cases,
                                                 .test_cases = control.test_cases,
                                                 .steps = control.steps});
        return Json{{"accuracy", probe.accuracy}, {"train_accuracy", probe.train_accuracy},
                    {"chance", probe.chance},     {"standard_error", probe.standard_error},
                    {"patches", probe.patches},   {"at_chance", probe.at_chance()}};
      });
      publish();
    }
  }

  void publish() const {
    write_file(request_.folder / "results.md", results_markdown(results_));
    write_file(request_.folder / "results.csv", results_csv(results_));
    write_file(request_.folder / "results.json",
               dump_json(written_by(kWriter, results_json(results_))) + "\n");
    for (const auto& [file, plot] : results_plots(results_))
      write_file(request_.folder / file, svg_written_by_lamp(bar_plot_svg(plot)));
  }

  const ExperimentRequest& request_;
  const Experiment experiment_;
  CellStore cells_;
  ExperimentData data_;
  Results results_;
};

Json document_of(const ExperimentRequest& request) {
  const std::string preset = request.preset + "-" + request.scale;
  if (const auto text = experiment_text(preset)) return parse_json(*text, "preset " + preset);
  if (request.preset.ends_with(".json")) {
    std::error_code error;
    if (!fs::exists(request.preset, error))
      throw UsageError("experiment: " + request.preset + ": no such file");
    return read_settings_file(request.preset);
  }
  throw UsageError("experiment: found no preset \"" + request.preset + "\" of scale \"" +
                   request.scale + "\", expected one of " + joined(experiment_names()) +
                   ", or a JSON file");
}

}  // namespace

Json run_experiment(const ExperimentRequest& request) {
  if (request.folder.empty())
    throw UsageError("experiment: " + setting_name("output") + " is needed: the folder to write");
  parse_devices(request.device);  // its own error, before anything is written
  Json document = document_of(request);
  apply_settings(document, request.settings);
  return Runner(request, parse_experiment(document)).run();
}

}  // namespace lamp
