// JSON and exit codes.
#include "lamp/inference/segment_report.h"

#include "lamp/base/errors.h"

namespace lamp {
namespace {

Json case_result_json(const CaseResult& result) {
  Json json = {{"case", result.name}, {"input", result.input}, {"output", result.output}};
  if (!result.probabilities.empty()) json["probabilities"] = result.probabilities;
  if (!result.preview.empty()) json["preview"] = result.preview;
  json["size"] = result.size;
  json["patch"] = result.patch.to_json();
  json["seconds"] = {{"load", result.seconds.load},
                     {"preprocess", result.seconds.preprocess},
                     {"network", result.seconds.network},
                     {"export", result.seconds.export_}};
  json["peak_bytes"] = result.peak_bytes;
  if (result.patch.bytes) json["estimated_bytes"] = *result.patch.bytes;
  json["volume_mm3"] = result.volume_mm3;
  if (result.cleaned_voxels) json["cleaned_voxels"] = *result.cleaned_voxels;
  if (!result.intensities.is_null()) json["intensities"] = result.intensities;
  return json;
}

}  // namespace

Json SegmentReport::to_json() const {
  Json json = {{"lamp", LAMP_VERSION},
               {"model", models},
               {"device", device},
               {"replicas", replicas},
               {"stages", stages},
               {"slabs", slabs},
               {"precision", precision},
               {"layout", layout},
               {"nifti_form", nifti_form},
               {"labels", Json::object()},
               {"mirroring", mirroring.to_json()},
               {"cases", Json::array()},
               {"failed", Json::array()},
               {"not_done", not_done},
               {"ignored", Json::array()}};
  for (const auto& [id, name] : labels) json["labels"][std::to_string(id)] = name;
  for (const CaseResult& result : cases) json["cases"].push_back(case_result_json(result));
  for (const SegmentFailure& failure : failures) {
    json["failed"].push_back({{"case", failure.name},
                              {"input", failure.input},
                              {"error", failure.message},
                              {"exit_code", failure.exit_code},
                              {"removed_older", failure.removed_older}});
  }
  for (const LeftOut& file : ignored)
    json["ignored"].push_back({{"file", file.file.string()}, {"reason", file.reason}});
  return json;
}

void SegmentReport::throw_if_failed() const {
  if (failures.empty()) return;
  const SegmentFailure& first = failures.front();
  const std::size_t all = failures.size() + cases.size();
  if (all == 1) throw Error(first.message, first.exit_code);
  const std::string count = std::to_string(failures.size()) + " of " + std::to_string(all);
  throw Error("segment: " + count + " cases failed, the first: " + first.message,
              cases.empty() ? first.exit_code : static_cast<int>(kExitSomeCasesFailed));
}

}  // namespace lamp
