// A NIfTI image whose forms contradict each other on its way through a segmentation: the option
// decides, else the model, else it is refused; the report says which.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "formats/nifti_samples.h"
#include "lamp/inference/segmenter.h"
#include "lamp/nets/net_factory.h"

namespace lamp {
namespace {

using ::testing::HasSubstr;

class ContradictoryInputTest : public NiftiSamples {
 protected:
  static SegmentModel model(const Json& data) {
    SegmentModel model{
        .file = "small.safetensors",
        .model = {.network = make_network({.width = 4, .depth = 1, .in_channels = 1, .classes = 3}),
                  .labels = {{0, "background"}, {1, "liver"}, {2, "tumour"}},
                  .data = data}};
    model.model.network.initialise(1);
    model.model.network.chain->eval();
    return model;
  }
  // An sform with voxels of 1x1x1 mm, a pixdim with 2x2x2 mm, a qform by the latter.
  std::string contradictory() {
    Volume volume = straight();
    volume.geometry.spacing_mm = {1, 1, 1};
    torch::manual_seed(0);
    volume.voxels = torch::randn({1, 16, 20, 24});
    std::string bytes = bytes_of_file(volume);
    for (int axis = 1; axis <= 3; ++axis) bytes = changed(bytes, kPixdim + 4 * axis, 2.F);
    return file(bytes, "scan.nii").string();
  }
  SegmentReport segment(const Json& data, std::optional<NiftiForm> form) {
    const SegmentOptions options{.patch = {.kind = PatchRequest::kFixed, .size = {24, 24, 16}},
                                 .nifti_form = form};
    return segment_all(
        {model(data)},
        {.inputs = {contradictory()}, .output = folder_ / "out", .options = options});
  }
  // mm^3 of every labelled voxel: its number is the same whatever the spacing ("keep").
  double volume_mm3(const SegmentReport& report) {
    double sum = 0;
    EXPECT_TRUE(report.failures.empty());
    for (const CaseResult& result : report.cases)
      for (const auto& [label, mm3] : result.volume_mm3) sum += mm3;
    return sum;
  }
  static Json said(const SegmentReport& report) { return report.to_json()["nifti_form"]; }

  const Json keep_ = {{"spacing_mm", "keep"}, {"window", nullptr}};
  const Json keep_qform_ = {{"spacing_mm", "keep"}, {"window", nullptr}, {"nifti_form", "qform"}};
};

TEST_F(ContradictoryInputTest, IsRefusedUnlessSomebodyDecides) {
  const SegmentReport report = segment(keep_, std::nullopt);
  ASSERT_EQ(report.failures.size(), 1U);
  EXPECT_EQ(report.failures[0].exit_code, kExitInput);
  EXPECT_THAT(report.failures[0].message, HasSubstr("orientation=sform or qform"));
  EXPECT_EQ(said(report), "refuse");
}

TEST_F(ContradictoryInputTest, TheOptionDecidesBeforeTheModel) {
  const SegmentReport by_sform = segment(keep_, NiftiForm::kSform);
  const double sform = volume_mm3(by_sform);
  EXPECT_GT(sform, 0) << "the random network should find something";
  EXPECT_EQ(said(by_sform), "sform");
  const SegmentReport by_qform = segment(keep_, NiftiForm::kQform);
  EXPECT_NEAR(volume_mm3(by_qform), 8 * sform, 1e-6 * sform);  // twice the length on each side
  EXPECT_EQ(said(by_qform), "qform");
  EXPECT_NEAR(volume_mm3(segment(keep_qform_, std::nullopt)), 8 * sform, 1e-6 * sform);
  EXPECT_EQ(said(segment(keep_qform_, std::nullopt)), "qform");
  const SegmentReport overruled = segment(keep_qform_, NiftiForm::kSform);
  EXPECT_NEAR(volume_mm3(overruled), sform, 1e-6 * sform);
  EXPECT_EQ(said(overruled), "sform");
}

// The label map's fields are the image's, bit for bit, so what decided there decides here too.
TEST_F(ContradictoryInputTest, TheLabelMapLiesLikeItsImage) {
  volume_mm3(segment(keep_, NiftiForm::kQform));
  for (const NiftiForm form : {NiftiForm::kSform, NiftiForm::kQform}) {
    const ReadOptions options{.nifti_form = form};
    EXPECT_EQ(corner_distance_voxels(read_image(folder_ / "scan.nii", options).geometry,
                                     read_label(folder_ / "out/scan.nii.gz", options).geometry),
              0);
  }
  testing::expect_refused([&] { read_label(folder_ / "out/scan.nii.gz"); }, "orientation=");
}

}  // namespace
}  // namespace lamp
