// On one device, or on slabs alone, three cases are under way at most: one being loaded, one in the
// network, one being written. Else one more than the replicas have stages, each with a thread of
// its own.
#include "lamp/inference/segmenter.h"

#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <mutex>
#include <optional>
#include <shared_mutex>

#include "lamp/base/device.h"
#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/host_memory.h"
#include "lamp/base/interrupt.h"
#include "lamp/base/log.h"
#include "lamp/base/output_lock.h"
#include "lamp/base/progress.h"
#include "lamp/base/setting_name.h"
#include "lamp/base/stopwatch.h"
#include "lamp/base/text.h"
#include "lamp/cases/intensity_check.h"
#include "lamp/dataset/taken_place.h"
#include "lamp/inference/case_export.h"
#include "lamp/inference/input_list.h"
#include "lamp/inference/segment_outputs.h"

namespace lamp {
namespace {

namespace fs = std::filesystem;

struct LoadedCase {
  PreparedImage image;
  Json intensities;               // beside those of training; null if unknown
  std::optional<GreyImage> grey;  // for the picture, if one is wanted
  CaseSeconds seconds;
};

// Warns where the values are not like those that the model was trained on.
LoadedCase load_case(const InputCase& input, const Model& model, const DataConfig& config,
                     const ReadOptions& reading, bool drawn) {
  const torch::InferenceMode no_gradients;
  LoadedCase loaded;
  Stopwatch watch;
  const std::int64_t in_channels = model.network.config.in_channels;
  Volume volume = read_case(input, in_channels, reading);
  loaded.seconds.load = watch.lap();
  if (drawn) loaded.grey = grey_image(volume);
  loaded.image = place_image(volume, config, reading.memory_bytes);
  volume.voxels.reset();
  if (usable_intensities(model.intensities, static_cast<std::size_t>(in_channels))) {
    const IntensityFindings findings = compare_intensities(
        count_intensities(loaded.image.voxels, {}), model.intensities, config.window);
    for (const std::string& warning : findings.warnings)
      log_warning(input.describe() + ": values unlike those of training: " + warning);
    loaded.intensities = findings.numbers;
  }
  apply_window(loaded.image, config);
  loaded.seconds.preprocess = watch.lap();
  return loaded;
}

// The model's, but for what the user asks of the files at hand.
DataConfig data_config_of(const SegmentModel& model, const SegmentOptions& options) {
  DataConfig config = preprocessing_of(model);
  if (options.nifti_form) config.nifti_form = *options.nifti_form;
  return config;
}

// All cases of one call.
class SegmentJob {
 public:
  SegmentJob(const std::vector<SegmentModel>& models, const SegmentRequest& request)
      : model_(models.front().model),
        options_(request.options),
        config_(data_config_of(models.front(), request.options)),
        cases_(expand_inputs(request.inputs, model_.network.config.in_channels, &left_out_,
                             request.dicom_series)),
        outputs_(plan_outputs(request.output, options_, cases_)),
        export_(model_, options_, outputs_),
        results_(cases_.size()),
        failures_(cases_.size()),
        greys_(cases_.size()) {
    refuse_folder_of_inputs(request.output, request.inputs);
    for (const SegmentModel& model : models) outputs_.files.protect(model.file);
    outputs_.files.check();
    refuse_taken_place(outputs_.folder, setting_to("output", request.output.string()),
                       outputs_.report.empty() ? ResultsAre::kSingleFile : ResultsAre::kFolder);
    lock_.emplace(outputs_.folder, outputs_.lock, way_out_of_lock());
    scorer_.emplace(models, options_, cases_.size() > 1, request.make_predictor);
    reading_ = config_.read_options();
    reading_.dicom_series = request.dicom_series;
    reading_.memory_bytes = scorer_->memory_left();
    check_cuts();
    outputs_.files.make_folders();
    lock_->start();
    for (const SegmentModel& model : models) report_.models.push_back(model.file);
    report_.ignored = std::move(left_out_);
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
    write_report();
    if (!stopped.empty())
      throw Interrupted("stopped by a signal: " + std::to_string(report_.cases.size()) + " of " +
                            std::to_string(cases_.size()) + " cases are written",
                        signal);
    return std::move(report_);
  }

 private:
  // Of every case whose header can be read; what is wrong with the others they say themselves.
  void check_cuts() const {
    if (options_.slabs == 1) return;
    for (const InputCase& input : cases_) {
      std::optional<Size3> size;
      try {
        const VolumeHeader header = read_volume_header(input.first(), reading_);
        size = plan_grid(Volume{.geometry = header.geometry}, config_).network.size;
      } catch (const InputError&) {
        continue;
      }
      try {
        scorer_->check_cut(*size);
      } catch (const UsageError& error) {
        throw UsageError(input.describe() + ": " + error.what());
      }
    }
  }

  // Calls that name the label map of their case, and so lock no more, may share a folder.
  std::string way_out_of_lock() const {
    const std::string other = "choose another place";
    if (cases_.size() > 1 || outputs_.report.empty()) return other;
    return other + ", or name the label map itself, as every call that shares the folder must (" +
           setting_to("output", outputs_.labels.front().string()) + ")";
  }

  void run_cases() {
    if (scorer_->groups() > 1) return stream_cases();
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
      Scores scores = score_case(loaded, result);
      start_export(i, std::move(result), std::move(scores), std::move(loaded.image.path));
    } catch (...) {
      fail_case(i);
    }
    if (!loading_.valid()) start_loading(i + 1);
  }

  // Every stage of every replica has a case at work while another is loaded or written.
  void stream_cases() {
    const std::size_t threads = std::min(cases_.size(), scorer_->groups() + 1);
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
      LoadedCase loaded = load_case(cases_[i], model_, config_, reading_, options_.preview);
      CaseResult result = begin_result(i, loaded);
      std::shared_lock among_others(alone_mutex_, std::defer_lock);
      std::unique_lock alone(alone_mutex_, std::defer_lock);
      result.patch.alone ? alone.lock() : among_others.lock();
      Scores scores = score_case(loaded, result);
      finish_case(i, result, scores, loaded.image.path, peak_resident_bytes());
    } catch (...) {
      fail_case(i);
    }
  }

  // The image is gone afterwards.
  Scores score_case(LoadedCase& loaded, CaseResult& result) const {
    const Stopwatch watch;
    Scores scores = scorer_->score(loaded.image, result.patch);
    result.seconds.network = watch.seconds();
    result.peak_bytes = scores.device_peak_bytes;
    loaded.image.voxels.reset();
    return scores;
  }

  CaseResult begin_result(std::size_t i, LoadedCase& loaded) {
    greys_[i] = std::move(loaded.grey);
    return {.name = cases_[i].name,
            .input = cases_[i].describe(),
            .output = outputs_.labels[i].string(),
            .size = loaded.image.path.input.size,
            .patch = scorer_->choose(loaded.image),
            .seconds = loaded.seconds,
            .intensities = loaded.intensities};
  }

  void start_loading(std::size_t i) {
    if (i >= cases_.size()) return;
    loading_ = std::async(std::launch::async, [this, i] {
      return load_case(cases_[i], model_, config_, reading_, options_.preview);
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
        fail_case(i);
      }
    };
    exporting_ = std::async(std::launch::async, std::move(work));
  }

  void fail_case(std::size_t i) {
    failures_[i] = export_.fail(i, cases_[i]);
    greys_[i].reset();
  }

  void finish_case(std::size_t i, CaseResult& result, Scores& scores, const GridPath& path,
                   std::int64_t peak) {
    export_.write(i, result, scores, path, greys_[i]);
    greys_[i].reset();
    if (scorer_->devices().front().is_cpu())
      result.peak_bytes = std::max(peak, peak_resident_bytes());
    log_case(result);
    results_[i] = std::move(result);
  }

  static void log_case(const CaseResult& result) {
    const CaseSeconds& s = result.seconds;
    log_info(result.name + ": " + result.patch.to_json().dump() + ", load " +
             fixed(s.load + s.preprocess, 2) + " s, network " + fixed(s.network, 2) +
             " s, export " + fixed(s.export_, 2) + " s -> " + result.output);
  }

  void gather() {
    report_.device = joined(device_names(scorer_->devices()), ",");
    report_.replicas = options_.replicas;
    report_.slabs = options_.slabs;
    report_.stages = static_cast<int>(scorer_->groups()) / options_.replicas;
    report_.precision = options_.precision;
    report_.nifti_form = name_of(config_.nifti_form);
    report_.layout = to_string(scorer_->layout());
    report_.labels = model_.labels;
    report_.mirroring = scorer_->mirroring();
    for (std::size_t i = 0; i < cases_.size(); ++i) {
      if (results_[i]) report_.cases.push_back(std::move(*results_[i]));
      if (!results_[i] && !failures_[i]) report_.not_done.push_back(cases_[i].describe());
      if (!failures_[i]) continue;
      if (cases_.size() > 1) log_warning(failures_[i]->name + " failed: " + failures_[i]->message);
      report_.failures.push_back(std::move(*failures_[i]));
    }
  }

  void write_report() {
    if (outputs_.report.empty()) return;
    outputs_.files.confirm(outputs_.report);
    write_file(outputs_.report, dump_json(written_by(kSegmentWriter, report_.to_json())) + "\n");
  }

  const Model& model_;
  const SegmentOptions& options_;
  const DataConfig config_;
  std::vector<LeftOut> left_out_;  // beside the cases, found with them
  const std::vector<InputCase> cases_;
  ReadOptions reading_;
  SegmentOutputs outputs_;  // checked once, not changed afterwards
  std::optional<OutputLock> lock_;
  const CaseExport export_;
  std::optional<Scorer> scorer_;
  SegmentReport report_;
  std::shared_mutex alone_mutex_;  // held alone by a case that fits only while no other is at work
  std::mutex progress_mutex_;
  // Each case has its own place, written by one thread.
  std::vector<std::optional<CaseResult>> results_;
  std::vector<std::optional<SegmentFailure>> failures_;
  std::vector<std::optional<GreyImage>> greys_;
  // Last, so that their threads end before what they use.
  std::future<LoadedCase> loading_;
  std::future<void> exporting_;
};

}  // namespace

void check_options(const SegmentOptions& options) {
  TORCH_CHECK(options.replicas > 0 && options.slabs > 0, "found ", options.replicas,
              " replicas and ", options.slabs, " slabs");
  if (!(options.overlap >= 0 && options.overlap < 1))
    throw UsageError(setting_name("overlap") + ": found " + shortest(options.overlap) +
                     ", expected a share of the window from 0 to below 1, such as 0.5");
  if (!(options.cleanup.min_volume_mm3 >= 0))
    throw UsageError(setting_name("min_volume_mm3") + ": expected a volume of 0 or more");
  if (!options.format.empty()) parse_format(options.format);
}

SegmentReport segment_all(const std::vector<SegmentModel>& models, const SegmentRequest& request) {
  TORCH_CHECK(!models.empty(), "a segmentation needs a model");
  check_options(request.options);
  return SegmentJob(models, request).run();
}

}  // namespace lamp
