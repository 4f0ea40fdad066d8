// Labels are cleaned on the file's grid, where their volumes are meant.
#include "lamp/inference/case_export.h"

#include <torch/utils.h>

#include <exception>
#include <new>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/log.h"
#include "lamp/base/out_of_memory.h"
#include "lamp/base/setting_name.h"
#include "lamp/base/stopwatch.h"
#include "lamp/base/text.h"
#include "lamp/formats/volume_io.h"
#include "lamp/inference/components.h"
#include "lamp/inference/segment_preview.h"

namespace lamp {
namespace {

namespace fs = std::filesystem;

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
    if (is_out_of_memory(unknown)) {
      failure.message = "out of memory";
      failure.exit_code = kExitDoesNotFit;
    }
  } catch (const std::exception& unknown) {
    failure.message = unknown.what();
  }
  if (failure.exit_code == kExitDoesNotFit &&
      failure.message.find(setting_name("patch")) == std::string::npos &&
      failure.message.find("does not fit") == std::string::npos)
    failure.message +=
        "; use " + setting_to("patch", "auto") + " or a smaller " + setting_name("patch");
  const std::string file = printable(input.first().string());  // as messages name it
  if (failure.message.find(file) == std::string::npos)
    failure.message = file + ": " + failure.message;
  return failure;
}

}  // namespace

CaseExport::CaseExport(const Model& model, const SegmentOptions& options,
                       const SegmentOutputs& outputs)
    : model_(model),
      options_(options),
      outputs_(outputs),
      keep_largest_(labels_to_clean(options.cleanup, model.labels)) {}

void CaseExport::write(std::size_t i, CaseResult& result, Scores& scores, const GridPath& path,
                       const std::optional<GreyImage>& grey) const {
  const torch::InferenceMode no_gradients;
  Stopwatch watch;
  Volume labels = labels_on_input_grid(scores.logits, path);
  torch::Tensor classes = labels.voxels;
  if (!options_.save_probabilities) scores.logits.reset();
  labels.voxels = class_to_id(labels.voxels, model_.labels);
  if (options_.cleanup.wanted()) result.cleaned_voxels = clean(labels, classes);
  result.volume_mm3 = volumes(labels);
  if (options_.save_probabilities) {
    result.probabilities = outputs_.probabilities[i].string();
    write_output(outputs_.probabilities[i],
                 probabilities_on_input_grid(scores.logits, path, classes));
  }
  const std::string picture = grey ? segment_png(result.name, *grey, labels, model_.labels) : "";
  // Killed at any point, there is no map beside the picture of another.
  if (grey)
    outputs_.files.remove_older(outputs_.previews[i]);
  else
    remove_older_preview(outputs_.previews[i]);
  write_output(outputs_.labels[i], labels);
  if (grey) write_picture(i, result, picture);
  if (!options_.save_probabilities && remove_older_probabilities(outputs_.probabilities[i]))
    log_info(outputs_.probabilities[i].string() +
             ": the probabilities of an earlier call are removed");
  result.seconds.export_ = watch.lap();
}

void CaseExport::write_output(const fs::path& file, const Volume& volume) const {
  outputs_.files.confirm(file);
  write_volume(file, volume, kSegmentWriter);
}

void CaseExport::write_picture(std::size_t i, CaseResult& result, const std::string& png) const {
  outputs_.files.confirm(outputs_.previews[i]);
  write_file(outputs_.previews[i], png);
  result.preview = outputs_.previews[i].string();
}

SegmentFailure CaseExport::fail(std::size_t i, const InputCase& input) const {
  SegmentFailure failure = describe_failure(input, std::current_exception());
  failure.removed_older = outputs_.files.remove_older(outputs_.labels[i]);
  if (options_.save_probabilities) outputs_.files.remove_older(outputs_.probabilities[i]);
  remove_older_probabilities(outputs_.probabilities[i]);
  remove_older_preview(outputs_.previews[i]);
  if (failure.removed_older) failure.message += "; the label map of an earlier call is removed";
  return failure;
}

// Cleans the label map, and the map of classes along with it; returns how many voxels changed.
std::int64_t CaseExport::clean(Volume& labels, torch::Tensor& classes) const {
  const torch::Tensor before = labels.voxels.clone();
  clean_labels(labels.voxels[0], options_.cleanup, keep_largest_,
               labels.geometry.voxel_volume_mm3());
  const torch::Tensor removed = before.ne(labels.voxels);
  // Class 0 is the background; `classes` may be the label map itself.
  if (options_.save_probabilities) classes = classes.masked_fill(removed, 0);
  return removed.sum().item<std::int64_t>();
}

std::map<std::string, double> CaseExport::volumes(const Volume& labels) const {
  const torch::Tensor counts =
      torch::bincount(labels.voxels.flatten(), {}, model_.labels.rbegin()->first + 1);
  std::map<std::string, double> volumes;
  for (const auto& [id, name] : model_.labels)
    if (id != 0)
      volumes[name] +=
          static_cast<double>(counts[id].item<std::int64_t>()) * labels.geometry.voxel_volume_mm3();
  return volumes;
}

}  // namespace lamp
