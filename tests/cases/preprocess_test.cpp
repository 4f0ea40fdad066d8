// There and back: whatever the orientation and spacing of a file, its labels come back in place.
#include "lamp/cases/preprocess.h"

#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "lamp/base/errors.h"
#include "lamp/base/size3.h"

namespace lamp {
namespace {

// The 48 directions with axes along x, y, z of the patient, turned a little so that none is exact.
std::vector<std::array<double, 9>> directions(double angle) {
  std::vector<std::array<double, 9>> all;
  const double c = std::cos(angle), s = std::sin(angle);
  const double turn[3][3] = {{c, -s, 0}, {s, c, 0}, {0, 0, 1}};
  std::array<int, 3> order = {0, 1, 2};
  do {
    for (int signs = 0; signs < 8; ++signs) {
      std::array<double, 9> direction{};
      for (int axis = 0; axis < 3; ++axis)
        for (int row = 0; row < 3; ++row)
          direction[row * 3 + axis] = turn[row][order[axis]] * ((signs >> axis) & 1 ? -1 : 1);
      all.push_back(direction);
    }
  } while (std::next_permutation(order.begin(), order.end()));
  return all;
}

Geometry grid(const std::array<double, 9>& direction) {
  return {.size = {13, 10, 8},
          .spacing_mm = {1, 1.5, 2},
          .origin_mm = {3, -40, 12},
          .direction = direction};
}

// A box in three unequal lengths off the centre, so that no flip or swap goes unseen.
torch::Tensor box_of(const Geometry& geometry) {
  torch::Tensor voxels = torch::zeros({1, geometry.size[2], geometry.size[1], geometry.size[0]});
  voxels.slice(1, 2, 7).slice(2, 1, 8).slice(3, 3, 12).fill_(100);
  voxels.slice(1, 2, 4).slice(2, 1, 4).slice(3, 3, 7).fill_(200);
  return voxels;
}

// Scores of three classes that follow the image's values 0, 100, 200.
torch::Tensor scores_of(const torch::Tensor& image) {
  return torch::stack({-image[0].abs(), -(image[0] - 100).abs(), -(image[0] - 200).abs()});
}

TEST(PreprocessTest, LabelsComeBackExactlyInAll48Orientations) {
  const auto all = directions(0.2);
  ASSERT_EQ(all.size(), 48U);
  for (const auto& direction : all) {
    const Volume image{.geometry = grid(direction), .voxels = box_of(grid(direction))};
    const PreparedImage prepared = prepare_image(image, {});
    const Volume labels = labels_on_input_grid(scores_of(prepared.voxels), prepared.path);
    EXPECT_TRUE(labels.voxels.eq(image.voxels / 100).all().item<bool>());
    EXPECT_EQ(labels.geometry.size, image.geometry.size);
    EXPECT_LT(corner_distance_voxels(labels.geometry, image.geometry), 1e-9);
  }
}

TEST(PreprocessTest, TheNetworkSeesThePatientTheSameWayFromAll48Orientations) {
  // The corner voxel nearest to the patient's right, front and feet is marked in each file.
  for (const auto& direction : directions(0)) {
    Volume image{.geometry = grid(direction)};
    const auto& size = image.geometry.size;
    image.voxels = torch::zeros({1, size[2], size[1], size[0]});
    double least = 1e9;
    torch::Tensor corner;
    for (int c = 0; c < 8; ++c) {
      const std::array<std::int64_t, 3> at = {(c & 1) ? size[0] - 1 : 0, (c & 2) ? size[1] - 1 : 0,
                                              (c & 4) ? size[2] - 1 : 0};
      const auto point = image.geometry.point({double(at[0]), double(at[1]), double(at[2])});
      const double sum = point[0] + point[1] + point[2];
      if (sum < least) {
        least = sum;
        corner = image.voxels[0][at[2]][at[1]][at[0]];
      }
    }
    corner.fill_(1);
    EXPECT_EQ(prepare_image(image, {}).voxels[0][0][0][0].item<float>(), 1);
  }
}

TEST(PreprocessTest, LabelsComeBackThroughAnotherSpacingInAll48Orientations) {
  const DataConfig finer{.spacing_mm = {{0.75, 0.75, 0.75}}};
  for (const auto& direction : directions(0.2)) {
    const Volume image{.geometry = grid(direction), .voxels = box_of(grid(direction))};
    const PreparedImage prepared = prepare_image(image, finer);
    for (const double spacing : prepared.path.network.spacing_mm) EXPECT_NEAR(spacing, 0.75, 0.06);
    const Volume labels = labels_on_input_grid(scores_of(prepared.voxels), prepared.path);
    EXPECT_EQ(labels.geometry.size, image.geometry.size);
    EXPECT_LT(corner_distance_voxels(labels.geometry, image.geometry), 1e-9);
    const torch::Tensor expected = image.voxels > 0, found = labels.voxels > 0;
    const double dice = 2 * expected.logical_and(found).sum().item<double>() /
                        (expected.sum().item<double>() + found.sum().item<double>());
    EXPECT_GT(dice, 0.97);
  }
}

TEST(PreprocessTest, AShearedScansLabelsAreUnknownOutsideOfIt) {
  Geometry sheared = grid({1, 0, std::sin(0.3), 0, 1, 0, 0, 0, std::cos(0.3)});
  sheared.size = {13, 10, 20};
  const Volume image{.geometry = sheared, .voxels = torch::ones({1, 20, 10, 13})};
  const PreparedImage prepared = prepare_image(image, {.resample_sheared = true});
  const Volume ones{.geometry = sheared, .voxels = torch::ones({1, 20, 10, 13}, torch::kUInt8)};
  const torch::Tensor label = prepare_label(ones, prepared.path);
  EXPECT_EQ(label.scalar_type(), torch::kInt16);
  EXPECT_EQ(label.sizes(), prepared.voxels.sizes().slice(1));
  // A scan of ones is labelled 1 wherever there is scan, and its volume stays what it was.
  const auto seen = label.eq(1).sum().item<std::int64_t>();
  EXPECT_EQ(seen + label.eq(-1).sum().item<std::int64_t>(), label.numel());
  const Geometry& network = prepared.path.network;
  const double voxel = network.spacing_mm[0] * network.spacing_mm[1] * network.spacing_mm[2];
  const double scanned = 13 * 10 * 20 * 1 * 1.5 * 2 * std::cos(0.3);
  EXPECT_NEAR(static_cast<double>(seen) * voxel / scanned, 1, 0.03);
  EXPECT_LT(seen, label.numel() * 9 / 10);
}

TEST(PreprocessTest, ProbabilitiesSumToOneOnTheInputsGrid) {
  const Volume image{.geometry = grid(directions(0.2)[13]),
                     .voxels = box_of(grid(directions(0.2)[13]))};
  for (const DataConfig& config : {DataConfig{}, DataConfig{.spacing_mm = {{1.1, 0.9, 1.4}}}}) {
    const PreparedImage prepared = prepare_image(image, config);
    const torch::Tensor scores = scores_of(prepared.voxels) / 50;
    const torch::Tensor classes = labels_on_input_grid(scores, prepared.path).voxels;
    const Volume found = probabilities_on_input_grid(scores, prepared.path, classes);
    EXPECT_TRUE(torch::equal(found.voxels.argmax(0), classes[0].to(torch::kInt64)));
    EXPECT_EQ(found.voxels.sizes(), (std::vector<std::int64_t>{3, 8, 10, 13}));
    EXPECT_LT((found.voxels.sum(0) - 1).abs().max().item<double>(), 1e-5);
    EXPECT_TRUE(found.voxels.is_contiguous());
  }
}

// Whatever the map says, and however many classes share the highest score.
TEST(PreprocessTest, ProbabilitiesBendToTheMapThatIsHandedOut) {
  const Volume image{.geometry = grid(directions(0)[0]), .voxels = box_of(grid(directions(0)[0]))};
  const PreparedImage prepared = prepare_image(image, {});
  torch::manual_seed(3);
  const torch::Tensor scores = torch::randint(0, 2, {5, 8, 10, 13}).to(torch::kFloat32) * 20;
  const torch::Tensor classes = torch::randint(0, 5, {1, 8, 10, 13}, torch::kUInt8);
  const torch::Tensor found = probabilities_on_input_grid(scores, prepared.path, classes).voxels;
  EXPECT_TRUE(torch::equal(found.argmax(0), classes[0].to(torch::kInt64)));
  EXPECT_LT((found.sum(0) - 1).abs().max().item<double>(), 1e-5);
  const torch::Tensor softmax = scores.softmax(0);
  EXPECT_LT((std::get<0>(found.sort(0)) - std::get<0>(softmax.sort(0))).abs().max().item<double>(),
            1e-6)
      << "the same probabilities, two of a voxel exchanged at most";
}

TEST(PreprocessTest, MoreThan256ClassesKeepTheirNumbers) {
  const Volume image{.geometry = grid(directions(0)[0]), .voxels = box_of(grid(directions(0)[0]))};
  const PreparedImage prepared = prepare_image(image, {});
  torch::Tensor scores = torch::zeros({300, 8, 10, 13});
  scores[299].fill_(1);
  EXPECT_EQ(labels_on_input_grid(scores, prepared.path).voxels.min().item<int>(), 299);
}

TEST(PreprocessTest, AGridTooFineForTheMemoryIsRefusedBeforeAnyIsTaken) {
  const Volume image{.geometry = grid({1, 0, 0, 0, 1, 0, 0, 0, 1}),
                     .voxels = torch::zeros({1, 8, 10, 13})};
  DataConfig config;
  config.spacing_mm = {0.001, 0.001, 0.001};  // 13000 x 15000 x 16000 voxels
  EXPECT_THROW(place_image(image, config), DoesNotFit);
  config.spacing_mm = {0.5, 0.5, 0.5};
  const std::int64_t needed = 2 * 4 * place_image(image, config).path.network.voxels();
  EXPECT_NO_THROW(place_image(image, config, needed));
  EXPECT_THROW(place_image(image, config, needed - 1), DoesNotFit);
}

TEST(PreprocessTest, AWindowMapsToZeroAndOne) {
  Volume image{.geometry = grid(directions(0)[0]), .voxels = box_of(grid(directions(0)[0]))};
  const torch::Tensor voxels = prepare_image(image, {.window = {{50, 150}}}).voxels;
  EXPECT_EQ(voxels.min().item<float>(), 0);
  EXPECT_EQ(voxels.max().item<float>(), 1);
  EXPECT_NEAR(voxels.to(torch::kFloat64).mean().item<double>(),
              (image.voxels == 100).to(torch::kFloat64).mean().item<double>() * 0.5 +
                  (image.voxels == 200).to(torch::kFloat64).mean().item<double>(),
              1e-6);
  EXPECT_EQ(image.voxels.max().item<float>(), 200) << "the file's own voxels stay as they are";
}

TEST(DataConfigTest, ComesBackFromJsonAndRefusesNonsense) {
  const DataConfig config{
      .spacing_mm = {{1, 2, 3}}, .window = {{-21, 89}}, .to_lps = false, .cubic = true};
  EXPECT_EQ(to_json(parse_data_config(to_json(config))), to_json(config));
  EXPECT_EQ(to_json(parse_data_config(Json::object()))["spacing_mm"], "keep");
  for (const char* text :
       {R"({"spacing_mm": [1, 1]})", R"({"spacing_mm": [1, 0, 1]})", R"({"window": [3, 2]})",
        R"({"spacing_mm": [1, 1e-30, 1]})", R"({"spacing_mm": [1, 1e30, 1]})",
        R"({"window": [-1e300, 1e300]})", R"({"orientation": "RAS"})", R"({"spacing": [1, 1, 1]})"})
    EXPECT_THROW(parse_data_config(parse_json(text, "test")), UsageError) << text;
}

}  // namespace
}  // namespace lamp
