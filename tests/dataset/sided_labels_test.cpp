#include "lamp/dataset/sided_labels.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lamp {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

TEST(SidedLabelsTest, FindsTheSideInTheUsualNames) {
  const std::map<std::string, std::string> twins = {
      {"Parotid_L", "Parotid_R"},
      {"OpticNerve_R", "OpticNerve_L"},
      {"kidney_left", "kidney_right"},
      {"Kidney_Right", "Kidney_Left"},
      {"LUNG LEFT", "LUNG RIGHT"},
      {"lung_upper_lobe_left", "lung_upper_lobe_right"},
      {"rib_right_12", "rib_left_12"},
      {"Left Kidney", "Right Kidney"},
      {"left-kidney", "right-kidney"},
      {"ParotidLeft", "ParotidRight"},
      {"LeftParotid", "RightParotid"},
      {"parotid gland L", "parotid gland R"},
      {"l_kidney", "r_kidney"},
      {"ear.r", "ear.l"},
      {"Kidney (L)", "Kidney (R)"},
      {"kidney (left)", "kidney (right)"},
      {"Parotis links", "Parotis rechts"},
      {"LeftLung", "RightLung"},
      {"lh_hippocampus", "rh_hippocampus"},
      {"Eye, left", "Eye, right"},
      {"Femur LT", "Femur RT"},
      {"Nervus opticus dexter", "Nervus opticus sinister"},
      {"Parotid[R]", "Parotid[L]"},
      {"lung/left/upper", "lung/right/upper"},
      {"ctx-lh-insula", "ctx-rh-insula"},
      {"ctx_RH_S_central", "ctx_LH_S_central"},
      {"rein gauche", "rein droit"},
      {"ReinGauche", "ReinDroit"},
      {"kidney sin", "kidney dex"},
      {"Kidney_SIN", "Kidney_DEX"},
  };
  for (const auto& [name, twin] : twins) {
    EXPECT_EQ(mirrored_name(name), twin);
    EXPECT_EQ(mirrored_name(twin), name);
  }
}

TEST(SidedLabelsTest, SeesNoSideWhereThereIsNone) {
  for (const char* name : {"background", "Mandible",       "liver",    "L",        "R",
                           "Bright",     "cleft palate",   "leftover", "gall",     "vertebra_L5",
                           "VertebraL",  "short_bone",     "start",    "art rt x", "alt",
                           "L4/L5",      "spinal_l_nerve", "",         "_",        "upright",
                           "kidneyL",    "sinus",          "single",   "index",    "lh",
                           "maladroit"})
    EXPECT_EQ(mirrored_name(name), "") << name;
}

TEST(SidedLabelsTest, ALastCapitalIsASideBesideItsTwin) {
  EXPECT_THAT(sided_pairs({{1, "kidneyL"}, {2, "VertebraL"}, {3, "kidneyR"}}),
              ElementsAre(Pair(1, 3)));
  EXPECT_THAT(labels_without_twin({{1, "kidneyL"}, {2, "VertebraL"}, {3, "kidneyR"}}),
              ::testing::IsEmpty());
  EXPECT_THAT(sided_pairs({{1, "MARL"}, {2, "MARR"}, {3, ""}, {4, "liver"}}), ::testing::IsEmpty());
}

TEST(SidedLabelsTest, FrenchHasTwoWordsForRight) {
  EXPECT_EQ(mirrored_name("glande droite"), "glande gauche");
  for (const char* right : {"glande droite", "glande droit"}) {
    const std::map<int, std::string> labels = {{1, "glande gauche"}, {2, right}};
    EXPECT_THAT(sided_pairs(labels), ElementsAre(Pair(1, 2)));
    EXPECT_THAT(labels_without_twin(labels), ::testing::IsEmpty());
  }
  const std::map<int, std::string> all = {{1, "x droite"}, {2, "x gauche"}, {3, "x droit"}};
  EXPECT_THAT(sided_pairs(all), ElementsAre(Pair(2, 3)));
  EXPECT_THAT(labels_without_twin(all), ElementsAre(Pair(1, "x droite")));
  EXPECT_THAT(labels_without_twin({{1, "glande droite"}}), ElementsAre(Pair(1, "glande droite")));
}

TEST(SidedLabelsTest, PairsEachTwinOnceAndReportsTheLonely) {
  const std::map<int, std::string> labels = {
      {0, "background"}, {1, "Parotid_R"}, {2, "Chiasm"}, {3, "Parotid_L"}, {4, "Eye_L"}};
  EXPECT_THAT(sided_pairs(labels), ElementsAre(Pair(1, 3)));
  EXPECT_THAT(labels_without_twin(labels), ElementsAre(Pair(4, "Eye_L")));
}

}  // namespace
}  // namespace lamp
