// NIfTI files whose sform, qform and pixdim contradict each other: told with numbers, or decided by
// the user.
#include <gmock/gmock.h>

#include "formats/nifti_samples.h"
#include "lamp/base/log.h"
#include "lamp/cases/preprocess.h"

namespace lamp {
namespace {

using ::testing::AllOf;
using testing::expect_image_refused;
using ::testing::HasSubstr;
using Spacing = std::array<double, 3>;

class NiftiFormTest : public NiftiSamples {
 protected:
  // Axes along L, P, S of exactly these spacings, in both forms; from the origin (10, 20, 30).
  std::string plain(const Spacing& spacing = {1, 1, 2}) {
    Volume volume = sample();
    volume.geometry.direction = Geometry{}.direction;
    volume.geometry.spacing_mm = spacing;
    volume.geometry.origin_mm = {10, 20, 30};
    return bytes_of_file(volume);
  }
  static std::string with_pixdim(std::string bytes, const std::array<float, 3>& pixdim) {
    for (int axis = 0; axis < 3; ++axis)
      bytes = changed(bytes, kPixdim + 4 + 4 * axis, pixdim[axis]);
    return bytes;
  }
  static std::string with_codes(const std::string& bytes, std::int16_t sform, std::int16_t qform) {
    return changed(changed(bytes, kSformCode, sform), kQformCode, qform);
  }
  // Reads the header and the image with the form asked for; what was said goes to `told_`.
  Geometry read(const std::string& bytes, NiftiForm form = NiftiForm::kRefuse) {
    const auto path = file(bytes);
    ::testing::internal::CaptureStderr();
    Geometry grid;
    try {
      grid = read_image(path, {.nifti_form = form}).geometry;
      EXPECT_EQ(
          corner_distance_voxels(grid, read_volume_header(path, {.nifti_form = form}).geometry), 0);
    } catch (const std::exception& error) {
      ADD_FAILURE() << error.what();
    }
    told_ = ::testing::internal::GetCapturedStderr();
    return grid;
  }
  void expect_refused(const std::string& bytes, const std::string& part,
                      NiftiForm form = NiftiForm::kRefuse) {
    const auto path = file(bytes);
    testing::expect_refused([&] { read_image(path, {.nifti_form = form}); }, part);
    testing::expect_refused([&] { read_volume_header(path, {.nifti_form = form}); }, part);
  }

  std::string told_;
};

TEST_F(NiftiFormTest, VoxelsOfTwoSizesAreRefusedWithBoth) {
  const std::string bytes = with_pixdim(plain(), {2, 2, 4});
  for (const auto& [sform, qform] : {std::pair{1, 0}, std::pair{1, 1}, std::pair{4, 1}}) {
    const std::string coded =
        with_codes(bytes, static_cast<std::int16_t>(sform), static_cast<std::int16_t>(qform));
    expect_refused(coded, "voxels of 1.0000x1.0000x2.0000 mm, its pixdim of 2.0000x2.0000x4.0000");
    expect_refused(coded, "100.0 % apart");
    expect_refused(coded, "orientation=");
  }
  // One axis is enough, whichever and in whichever direction.
  expect_refused(with_pixdim(plain(), {1, 1, 1.9F}), "5.3 % apart");
  expect_refused(with_pixdim(plain(), {1.02F, 1, 2}), "2.0 % apart");
  expect_refused(with_pixdim(plain(), {1, 0.98F, 2}), "2.0 % apart");
  expect_refused(with_pixdim(plain(), {1, 1000, 2}), "99900.0 % apart");
}

TEST_F(NiftiFormTest, SmallDifferencesAreToldOrRounding) {
  const std::string bytes = with_codes(plain({0.9765625, 0.9765625, 2.5}), 1, 0);
  EXPECT_NEAR(read(with_pixdim(bytes, {0.9765625F, 0.9765625F, 2.49F})).spacing_mm[2], 2.5, 1e-6);
  EXPECT_THAT(told_, AllOf(HasSubstr("0.4 % apart"), HasSubstr("those of the sform are used")));
  read(with_pixdim(bytes, {0.977F, 0.977F, 2.5F}));  // rounded to three digits: 0.04 %
  EXPECT_EQ(told_, "");
}

TEST_F(NiftiFormTest, TheQformAndMethodOneKnowNoSecondSize) {
  const std::string bytes = with_pixdim(plain(), {2, 2, 4});
  EXPECT_EQ(read(with_codes(bytes, 0, 1)).spacing_mm, (Spacing{2, 2, 4}));
  EXPECT_EQ(told_, "");
  EXPECT_EQ(read(with_codes(bytes, 0, 0)).spacing_mm, (Spacing{2, 2, 4}));
  EXPECT_THAT(told_, HasSubstr("codes are 0"));
}

TEST_F(NiftiFormTest, TheUserDecidesBetweenSizes) {
  const std::string bytes = with_codes(with_pixdim(plain(), {2, 2, 4}), 1, 1);
  const Geometry sform = read(bytes, NiftiForm::kSform);
  EXPECT_EQ(sform.spacing_mm, (Spacing{1, 1, 2}));
  EXPECT_EQ(sform.point({0, 0, 0}), (Spacing{10, 20, 30}));
  EXPECT_THAT(told_, AllOf(HasSubstr("100.0 % apart"), HasSubstr("the sform is used as asked for"),
                           HasSubstr("changed.nii")));
  const Geometry qform = read(bytes, NiftiForm::kQform);
  EXPECT_EQ(qform.spacing_mm, (Spacing{2, 2, 4}));
  EXPECT_EQ(qform.point({1, 1, 1}), (Spacing{12, 22, 34}));
  EXPECT_THAT(told_, HasSubstr("the qform is used as asked for"));
  // A file without a qform cannot be read by it: still refused where pixdim contradicts the sform.
  expect_refused(with_codes(bytes, 1, 0), "orientation=sform", NiftiForm::kQform);
  EXPECT_EQ(read(with_codes(bytes, 1, 0), NiftiForm::kSform).spacing_mm, (Spacing{1, 1, 2}));
  // Without an sform nothing is to be decided.
  EXPECT_EQ(read(with_codes(bytes, 0, 1), NiftiForm::kSform).spacing_mm, (Spacing{2, 2, 4}));
  EXPECT_EQ(told_, "");
}

TEST_F(NiftiFormTest, TheUserDecidesBetweenPlaces) {
  // The qform lies 5 mm further to the right: NIfTI's x points there.
  for (const auto& [sform, qform] : {std::pair{2, 2}, std::pair{4, 1}}) {
    const std::string bytes =
        with_codes(changed(plain(), kQoffset, -5.F), static_cast<std::int16_t>(sform),
                   static_cast<std::int16_t>(qform));
    if (sform == qform) expect_refused(bytes, "orientation=sform or qform");
    EXPECT_EQ(read(bytes, NiftiForm::kSform).point({0, 0, 0}), (Spacing{10, 20, 30}));
    EXPECT_THAT(told_, HasSubstr("5.00 voxels apart, the sform is used as asked for"));
    EXPECT_EQ(read(bytes, NiftiForm::kQform).point({0, 0, 0}), (Spacing{5, 20, 30}));
    EXPECT_THAT(told_, HasSubstr("5.00 voxels apart, the qform is used as asked for"));
  }
  const std::string agreeing = plain();
  for (const NiftiForm form : {NiftiForm::kRefuse, NiftiForm::kSform, NiftiForm::kQform}) {
    EXPECT_EQ(read(agreeing, form).point({0, 0, 0}), (Spacing{10, 20, 30}));
    EXPECT_EQ(told_, "");
  }
}

TEST_F(NiftiFormTest, AFormThatIsNoneCanBeAvoided) {
  const std::string broken = changed(plain(), kSrow, kNan);
  expect_refused(broken, "orientation=qform");
  expect_refused(broken, "NaN", NiftiForm::kSform);
  EXPECT_EQ(read(broken, NiftiForm::kQform).spacing_mm, (Spacing{1, 1, 2}));
  const std::string no_rotation = changed(plain(), kQuatern, 2.F);
  EXPECT_EQ(read(no_rotation, NiftiForm::kSform).spacing_mm, (Spacing{1, 1, 2}));
  expect_refused(no_rotation, "no rotation", NiftiForm::kQform);
}

TEST_F(NiftiFormTest, TheHandOfTheQformIsItsQfac) {
  // The quaternion (0, 0, 0, 1) turns by 180 degrees about z: voxels along L, P, S. A qfac of -1
  // turns the third axis round.
  const std::string bytes = with_codes(plain(), 0, 1);
  EXPECT_EQ(read(changed(bytes, kPixdim, -1.F)).point({1, 1, 1}), (Spacing{11, 21, 28}));
  EXPECT_EQ(read(changed(bytes, kPixdim, 1.F)).point({1, 1, 1}), (Spacing{11, 21, 32}));
  EXPECT_EQ(read(changed(bytes, kPixdim, 0.F)).point({1, 1, 1}), (Spacing{11, 21, 32}));
  expect_refused(changed(bytes, kPixdim, kNan), "no rotation");
  // An sform of the other hand is a contradiction.
  expect_refused(changed(plain(), kPixdim, -1.F), "voxels apart");
  EXPECT_EQ(read(changed(plain(), kPixdim, -1.F), NiftiForm::kQform).point({1, 1, 1}),
            (Spacing{11, 21, 28}));
}

TEST_F(NiftiFormTest, UnitsApplyToEveryForm) {
  const std::string metres = changed(plain(), kUnits, '\x01');
  const Geometry grid = read(with_codes(metres, 0, 1));
  EXPECT_NEAR(grid.spacing_mm[2], 2000, 1e-9);
  EXPECT_NEAR(read(with_codes(metres, 1, 0)).spacing_mm[2], 2000, 1e-9);
  expect_refused(with_pixdim(metres, {2, 2, 4}), "1000.0000x1000.0000x2000.0000 mm");
  read(changed(plain(), kUnits, '\x05'));
  EXPECT_THAT(told_, HasSubstr("unknown unit of length 5, taken as mm"));
}

TEST_F(NiftiFormTest, Nifti2IsJudgedLikeNifti1) {
  const std::string bytes = with_pixdim(plain(), {2, 2, 4});
  expect_refused(as_nifti2(bytes), "100.0 % apart");
  EXPECT_EQ(read(as_nifti2(bytes), NiftiForm::kSform).spacing_mm, (Spacing{1, 1, 2}));
  EXPECT_EQ(read(as_nifti2(bytes), NiftiForm::kQform).spacing_mm, (Spacing{2, 2, 4}));
}

TEST_F(NiftiFormTest, TheConfigurationNamesTheForm) {
  EXPECT_EQ(parse_data_config(Json::object()).nifti_form, NiftiForm::kRefuse);
  const DataConfig config = parse_data_config(Json{{"nifti_form", "qform"}});
  EXPECT_EQ(config.read_options().nifti_form, NiftiForm::kQform);
  EXPECT_EQ(parse_data_config(to_json(config)).nifti_form, NiftiForm::kQform);
  EXPECT_THROW(parse_data_config(Json{{"nifti_form", "both"}}), UsageError);
  EXPECT_THROW(parse_nifti_form("LPS"), UsageError);
}

TEST_F(NiftiFormTest, ASlopeThatIsNoNumberScalesNothing) {
  const Volume volume = straight();
  const torch::Tensor stored = volume.voxels.to(torch::kFloat32);
  const std::string bytes = changed(bytes_of_file(volume), kSlope + 4, 7.F);
  constexpr float kInfinite = std::numeric_limits<float>::infinity();
  for (const float slope : {kNan, kInfinite, -kInfinite, 0.F})
    for (const float intercept : {kNan, kInfinite, 0.F, 7.F})
      EXPECT_TRUE(torch::equal(
          read_image(file(changed(changed(bytes, kSlope, slope), kSlope + 4, intercept))).voxels,
          stored));
  EXPECT_TRUE(torch::equal(read_image(file(changed(bytes, kSlope, -2.F))).voxels, stored * -2 + 7));
  for (const float intercept : {kNan, kInfinite})
    expect_image_refused(file(changed(changed(bytes, kSlope, 2.F), kSlope + 4, intercept)),
                         "scl_inter");
}

}  // namespace
}  // namespace lamp
