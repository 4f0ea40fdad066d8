// On one device three cases are under way at most: one being loaded, one in the network, one being
// written. Over several, one more than there are stages, each with a thread of its own.
#include "lamp/inference/segmenter.h"

#include <torch/torch.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <future>
#include <mutex>
#include <optional>
#include <shared_mutex>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/host_memory.h"
#include "lamp/base/interrupt.h"
#include "lamp/base/log.h"
#include "lamp/base/out_of_memory.h"
#include "lamp/base/progress.h"
#include "lamp/base/text.h"
#include "lamp/inference/input_list.h"

namespace lamp {
namespace {

namespace fs = std::filesystem;

const std::vector<std::string> kFormats = {"nii.gz", "nii", "nrrd", "mha"};

class Stopwatch {
 public:
  // Seconds since the last call.
  double lap() {
    const auto now = std::chrono::steady_clock::now();
    const double seconds = std::chrono::duration<double>(now - start_).count();
    start_ = now;
    return seconds;
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// The format that `path` ends in, if any.
std::optional<std::string> format_of(const fs::path& path) {
  const std::string name = path.filename().string();
  for (const std::string& format : kFormats)
    if (name.size() > format.size() + 1 && name.ends_with("." + format)) return format;
  return std::nullopt;
}

struct OutputPlan {
  fs::path folder;
  bool single_file = false;
  std::vector<fs::path> labels;         // one for each case
  std::vector<fs::path> probabilities;  // likewise
};

OutputPlan plan_outputs(const SegmentRequest& request, const std::vector<InputCase>& cases) {
  OutputPlan plan{.folder = request.output};
  const auto named = format_of(request.output);
  plan.single_file = named && cases.size() == 1 && !fs::is_directory(request.output);
  const std::string format = "." + (plan.single_file ? *named : request.options.format);
  for (const InputCase& input : cases) {
    std::string stem = input.name;
    if (plan.single_file) {
      const std::string name = request.output.filename().string();
      stem = name.substr(0, name.size() - format.size());
      plan.folder = request.output.has_parent_path() ? request.output.parent_path() : fs::path(".");
    }
    plan.labels.push_back(plan.folder / (stem + format));
    plan.probabilities.push_back(plan.folder / (stem + "_prob" + format));
  }
  return plan;
}

void protect_inputs(const OutputPlan& plan, const std::vector<InputCase>& cases) {
  for (const InputCase& input : cases) {
    for (const fs::path& file : input.channels) {
      const auto replaces = [&](const fs::path& output) {
        return fs::weakly_canonical(output) == fs::weakly_canonical(file);
      };
      if (std::any_of(plan.labels.begin(), plan.labels.end(), replaces) ||
          std::any_of(plan.probabilities.begin(), plan.probabilities.end(), replaces))
        throw UsageError("-o: the output would replace the input " + file.string() +
                         "; choose another folder");
    }
  }
}

SegmentFailure describe_failure(const InputCase& input, const std::exception_ptr& error) {
  SegmentFailure failure{input.name, input.describe(), "", kExitRuntime};
  try {
    std::rethrow_exception(error);
  } catch (const Interrupted&) {
    throw;
  } catch (const Error& known) {
    failure.message = known.what();
    failure.exit_code = known.exit_code();
  } catch (const std::bad_alloc&) {
    failure.message = "out of memory";
    failure.exit_code = kExitDoesNotFit;
  } catch (const c10::Error& unknown) {
    failure.message = unknown.what_without_backtrace();
    failure.message = failure.message.substr(0, failure.message.find('\n'));
    if (is_out_of_memory(unknown)) failure.exit_code = kExitDoesNotFit;
  } catch (const std::exception& unknown) {
    failure.message = unknown.what();
  }
  if (failure.exit_code == kExitDoesNotFit &&
      failure.message.find("--patch") == std::string::npos &&
      failure.message.find("does not fit") == std::string::npos)
    failure.message += "; use --patch auto or a smaller --patch";
  if (failure.message.find(input.channels.front().string()) == std::string::npos)
    failure.message = input.channels.front().string() + ": " + failure.message;
  return failure;
}

struct LoadedCase {
  PreparedImage image;
  CaseSeconds seconds;
};

LoadedCase load_case(const InputCase& input, std::int64_t in_channels, const DataConfig& config) {
  const torch::InferenceMode no_gradients;
  LoadedCase loaded;
  Stopwatch watch;
  const Volume volume = read_case(input, in_channels, config.read_options());
  loaded.seconds.load = watch.lap();
  loaded.image = prepare_image(volume, config);
  loaded.seconds.preprocess = watch.lap();
  return loaded;
}

// Class numbers become the ids of the model's labels, where these are not 0, 1, 2, ... anyway.
torch::Tensor class_to_id(const torch::Tensor& classes, const std::map<int, std::string>& labels) {
  if (labels.rbegin()->first + 1 == static_cast<int>(labels.size())) return classes;
  std::vector<std::int32_t> ids;
  for (const auto& [id, name] : labels) ids.push_back(id);
  const auto type = ids.back() < 256 ? torch::kUInt8 : torch::kInt32;
  return torch::tensor(ids, torch::kInt32)
      .to(type)
      .index_select(0, classes.flatten().to(torch::kInt32))
      .view_as(classes);
}

// The model's, but for what the user asks of the files at hand.
DataConfig data_config_of(const Model& model, const SegmentOptions& options) {
  DataConfig config = parse_data_config(model.data);
  if (options.nifti_form) config.nifti_form = *options.nifti_form;
  return config;
}

// All cases of one call.
class Job {
 public:
  Job(const std::vector<SegmentModel>& models, const SegmentRequest& request)
      : model_(models.front().model),
        options_(request.options),
        config_(data_config_of(model_, request.options)),
        cases_(expand_inputs(request.inputs, model_.network.config.in_channels)),
        outputs_(plan_outputs(request, cases_)),
        keep_largest_(labels_to_clean(options_.cleanup, model_.labels)),
        results_(cases_.size()),
        failures_(cases_.size()) {
    protect_inputs(outputs_, cases_);
    make_output_folder(outputs_.folder);
    scorer_.emplace(models, options_, cases_.size() > 1, request.make_predictor);
    for (const SegmentModel& model : models) report_.models.push_back(model.file);
  }

  SegmentReport run() {
    std::string stopped;
    int signal = 0;
    try {
      run_cases();
    } catch (const Interrupted& interruption) {
      signal = caught_signal();
      stopped = interruption.what();
    }
    if (exporting_.valid()) exporting_.wait();
    gather();
    if (!outputs_.single_file)
      write_file(outputs_.folder / "segment.json", dump_json(report_.to_json()) + "\n");
    if (!stopped.empty())
      throw Interrupted("stopped by a signal: " + std::to_string(report_.cases.size()) + " of " +
                            std::to_string(cases_.size()) + " cases are written",
                        signal);
    return std::move(report_);
  }

 private:
  void run_cases() {
    if (scorer_->devices().size() > 1) return stream_cases();
    start_loading(0);
    Progress progress("segment", static_cast<std::int64_t>(cases_.size()));
    for (std::size_t i = 0; i < cases_.size(); ++i) {
      throw_if_interrupted("");
      run_case(i);
      progress.advance(cases_[i].name);
    }
  }

  void run_case(std::size_t i) {
    try {
      LoadedCase loaded = loading_.get();
      CaseResult result = begin_result(i, loaded);
      if (!result.patch.alone) start_loading(i + 1);
      if (result.patch.alone && exporting_.valid()) exporting_.wait();
      if (options_.memory_bytes)
        release_free_memory();  // else gaps in the heap add up from case to case
      reset_peak_resident_bytes();
      Stopwatch watch;
      Scores scores = scorer_->score(loaded.image, result.patch);
      result.seconds.network = watch.lap();
      result.peak_bytes = scores.device_peak_bytes;
      loaded.image.voxels.reset();
      start_export(i, std::move(result), std::move(scores), std::move(loaded.image.path));
    } catch (...) {
      failures_[i] = describe_failure(cases_[i], std::current_exception());
    }
    if (!loading_.valid()) start_loading(i + 1);
  }

  // Every stage has a case at work while another is loaded or written.
  void stream_cases() {
    const std::size_t threads = std::min(cases_.size(), scorer_->devices().size() + 1);
    Progress progress("segment", static_cast<std::int64_t>(cases_.size()));
    std::atomic<std::size_t> next = 0;
    std::vector<std::future<void>> streams;
    const auto take_cases = [&] {
      while (next < cases_.size()) {
        throw_if_interrupted("");
        const std::size_t i = next++;
        if (i >= cases_.size()) return;
        stream_case(i);
        const std::lock_guard lock(progress_mutex_);
        progress.advance(cases_[i].name);
      }
    };
    for (std::size_t t = 0; t < threads; ++t)
      streams.push_back(std::async(std::launch::async, take_cases));
    for (auto& stream : streams) stream.wait();
    for (auto& stream : streams) stream.get();
  }

  void stream_case(std::size_t i) {
    try {
      LoadedCase loaded = load_case(cases_[i], model_.network.config.in_channels, config_);
      CaseResult result = begin_result(i, loaded);
      std::shared_lock among_others(alone_mutex_, std::defer_lock);
      std::unique_lock alone(alone_mutex_, std::defer_lock);
      result.patch.alone ? alone.lock() : among_others.lock();
      Stopwatch watch;
      Scores scores = scorer_->score(loaded.image, result.patch);
      result.seconds.network = watch.lap();
      result.peak_bytes = scores.device_peak_bytes;
      loaded.image.voxels.reset();
      finish_case(i, result, scores, loaded.image.path, peak_resident_bytes());
    } catch (...) {
      failures_[i] = describe_failure(cases_[i], std::current_exception());
    }
  }

  CaseResult begin_result(std::size_t i, const LoadedCase& loaded) const {
    return {.name = cases_[i].name,
            .input = cases_[i].describe(),
            .output = outputs_.labels[i].string(),
            .size = loaded.image.path.input.size,
            .patch = scorer_->choose(loaded.image),
            .seconds = loaded.seconds};
  }

  void start_loading(std::size_t i) {
    if (i >= cases_.size()) return;
    loading_ = std::async(std::launch::async, [this, i] {
      return load_case(cases_[i], model_.network.config.in_channels, config_);
    });
  }

  // Waits for the case before, so that one is written at a time.
  void start_export(std::size_t i, CaseResult result, Scores scores, GridPath path) {
    const std::int64_t peak = peak_resident_bytes();
    if (exporting_.valid()) exporting_.wait();
    auto work = [this, i, peak, result = std::move(result), scores = std::move(scores),
                 path = std::move(path)]() mutable {
      try {
        finish_case(i, result, scores, path, peak);
      } catch (...) {
        failures_[i] = describe_failure(cases_[i], std::current_exception());
      }
    };
    exporting_ = std::async(std::launch::async, std::move(work));
  }

  void finish_case(std::size_t i, CaseResult& result, Scores& scores, const GridPath& path,
                   std::int64_t peak) {
    export_case(i, result, scores, path);
    if (scorer_->devices().front().is_cpu())
      result.peak_bytes = std::max(peak, peak_resident_bytes());
    log_case(result);
    results_[i] = std::move(result);
  }

  void export_case(std::size_t i, CaseResult& result, Scores& scores, const GridPath& path) {
    const torch::InferenceMode no_gradients;
    Stopwatch watch;
    Volume labels = labels_on_input_grid(scores.logits, path);
    if (!options_.save_probabilities) scores.logits.reset();
    labels.voxels = class_to_id(labels.voxels, model_.labels);
    if (options_.cleanup.wanted())
      clean_labels(labels.voxels[0], options_.cleanup, keep_largest_,
                   path.input.voxel_volume_mm3());
    result.volume_mm3 = volumes(labels);
    write_volume(outputs_.labels[i], labels);
    if (options_.save_probabilities) {
      result.probabilities = outputs_.probabilities[i].string();
      try {
        write_volume(outputs_.probabilities[i], probabilities_on_input_grid(scores.logits, path));
      } catch (...) {
        fs::remove(outputs_.labels[i]);  // a failed case leaves nothing
        throw;
      }
    }
    result.seconds.export_ = watch.lap();
  }

  std::map<std::string, double> volumes(const Volume& labels) const {
    const torch::Tensor counts =
        torch::bincount(labels.voxels.flatten(), {}, model_.labels.rbegin()->first + 1);
    std::map<std::string, double> volumes;
    for (const auto& [id, name] : model_.labels)
      if (id != 0)
        volumes[name] += static_cast<double>(counts[id].item<std::int64_t>()) *
                         labels.geometry.voxel_volume_mm3();
    return volumes;
  }

  static void log_case(const CaseResult& result) {
    const CaseSeconds& s = result.seconds;
    log_info(result.name + ": " + result.patch.to_json().dump() + ", load " +
             fixed(s.load + s.preprocess, 2) + " s, network " + fixed(s.network, 2) +
             " s, export " + fixed(s.export_, 2) + " s -> " + result.output);
  }

  void gather() {
    for (const c10::Device device : scorer_->devices())
      report_.device += (report_.device.empty() ? "" : ",") + device.str();
    report_.precision = options_.precision;
    report_.nifti_form = name_of(config_.nifti_form);
    report_.layout = to_string(scorer_->layout());
    for (std::size_t i = 0; i < cases_.size(); ++i) {
      if (results_[i]) report_.cases.push_back(std::move(*results_[i]));
      if (!failures_[i]) continue;
      if (cases_.size() > 1) log_warning(failures_[i]->name + " failed: " + failures_[i]->message);
      report_.failures.push_back(std::move(*failures_[i]));
    }
  }

  const Model& model_;
  const SegmentOptions& options_;
  const DataConfig config_;
  const std::vector<InputCase> cases_;
  const OutputPlan outputs_;
  const std::set<int> keep_largest_;
  std::optional<Scorer> scorer_;
  SegmentReport report_;
  std::shared_mutex alone_mutex_;  // held alone by a case that fits only while no other is at work
  std::mutex progress_mutex_;
  // Each case has its own place, written by one thread.
  std::vector<std::optional<CaseResult>> results_;
  std::vector<std::optional<SegmentFailure>> failures_;
  // Last, so that their threads end before what they use.
  std::future<LoadedCase> loading_;
  std::future<void> exporting_;
};

}  // namespace

void check_options(const SegmentOptions& options) {
  if (!(options.overlap >= 0 && options.overlap < 1))
    throw UsageError("--overlap: found " + shortest(options.overlap) +
                     ", expected a share of the window from 0 to below 1, such as 0.5");
  if (std::find(kFormats.begin(), kFormats.end(), options.format) == kFormats.end())
    throw UsageError("--format: found \"" + options.format +
                     "\", expected nii.gz, nii, nrrd or mha");
}

SegmentReport segment_all(const std::vector<SegmentModel>& models, const SegmentRequest& request) {
  TORCH_CHECK(!models.empty(), "a segmentation needs a model");
  check_options(request.options);
  return Job(models, request).run();
}

}  // namespace lamp
