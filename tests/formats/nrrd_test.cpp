// NRRD headers by the definition of the format. Every expected place is worked out by hand.
#include "lamp/formats/nrrd.h"

#include "formats/text_volume_samples.h"
#include "lamp/base/size3.h"

namespace lamp {
namespace {

using ::testing::AllOf;
using testing::expect_image_refused;
using ::testing::HasSubstr;
using testing::nrrd_fields;
using testing::Point;

class NrrdTest : public testing::TextVolumeTest {};

TEST_F(NrrdTest, EveryNameOfAnAnatomicalSpaceIsConvertedToLps) {
  const std::array<Point, 4> ras = {
      {{-10, -20, 30}, {-12, -20, 30}, {-10, -23, 30}, {-10, -20, 34}}};
  const std::array<Point, 4> las = {{{10, -20, 30}, {12, -20, 30}, {10, -23, 30}, {10, -20, 34}}};
  const std::array<Point, 4> lps = {{{10, 20, 30}, {12, 20, 30}, {10, 23, 30}, {10, 20, 34}}};
  for (const auto& [space, expected] :
       {std::pair{"right-anterior-superior", ras}, std::pair{"RAS", ras}, std::pair{"ras", ras},
        std::pair{"right anterior superior", ras}, std::pair{"Right-Anterior-Superior", ras},
        std::pair{"left-anterior-superior", las}, std::pair{"LAS", las}, std::pair{"las", las},
        std::pair{"leftanteriorsuperior", las}, std::pair{"left-posterior-superior", lps},
        std::pair{"LPS", lps}, std::pair{"lps", lps}, std::pair{"LEFT-POSTERIOR-SUPERIOR", lps}}) {
    SCOPED_TRACE(space);
    expect_points(nrrd(nrrd_fields().with("space", space)), expected);
  }
}

TEST_F(NrrdTest, SpacesWithTimeLieLikeThoseWithout) {
  const auto fields = nrrd_fields()
                          .with("space directions", "(2,0,0,0) (0,3,0,0) (0,0,4,0)")
                          .with("space origin", "(10,20,30,7)");
  for (const auto& [space, x, y] :
       {std::tuple{"right-anterior-superior-time", -1, -1}, std::tuple{"RAST", -1, -1},
        std::tuple{"left-anterior-superior-time", 1, -1}, std::tuple{"LAST", 1, -1},
        std::tuple{"left-posterior-superior-time", 1, 1}, std::tuple{"LPST", 1, 1}}) {
    SCOPED_TRACE(space);
    const double sx = x, sy = y;
    expect_points(nrrd(fields.with("space", space)), {{{sx * 10, sy * 20, 30},
                                                       {sx * 12, sy * 20, 30},
                                                       {sx * 10, sy * 23, 30},
                                                       {sx * 10, sy * 20, 34}}});
  }
  const auto las = fields.with("space", "LAST");
  expect_image_refused(nrrd(las.with("space directions", "(2,0,0,0) (0,3,0,0) (0,0,4,1)")), "time");
  expect_image_refused(nrrd(las.with("space directions", "(2,0,0) (0,3,0) (0,0,4)")), "3 numbers");
  expect_image_refused(nrrd(las.with("kinds", "domain domain time")), "time");
}

TEST_F(NrrdTest, TurnedPermutedAndLeftHandedAxesKeepTheirPlace) {
  // Axis 0 along S, 1 along the first direction of space, 2 along the second: of odd or even
  // permutation, whichever space.
  const auto permuted = nrrd_fields().with("space directions", "(0,0,4) (2,0,0) (0,3,0)");
  expect_points(nrrd(permuted.with("space", "LAS")),
                {{{10, -20, 30}, {10, -20, 34}, {12, -20, 30}, {10, -23, 30}}});
  expect_points(nrrd(permuted.with("space", "RAS")),
                {{{-10, -20, 30}, {-10, -20, 34}, {-12, -20, 30}, {-10, -23, 30}}});
  // 3-4-5 triangles: axis 0 of length 2, axis 1 of length 3, in the plane of x and y.
  const auto turned = nrrd_fields().with("space directions", "(1.2,1.6,0) (-2.4,1.8,0) (0,0,-4)");
  expect_points(nrrd(turned.with("space", "LAS")),
                {{{10, -20, 30}, {11.2, -21.6, 30}, {7.6, -21.8, 30}, {10, -20, 26}}});
  expect_points(nrrd(turned.with("space", "RAS")),
                {{{-10, -20, 30}, {-11.2, -21.6, 30}, {-7.6, -21.8, 30}, {-10, -20, 26}}});
  Geometry grid;
  warnings(nrrd(turned.with("space", "LAS")), &grid);
  for (int a = 0; a < 3; ++a) EXPECT_NEAR(grid.spacing_mm[a], a + 2, 1e-12);
}

TEST_F(NrrdTest, SaysWhatASpaceLeavesOpen) {
  for (const char* space : {"scanner-xyz", "3D-right-handed", "3D-left-handed", "3DRH", "3DLH"}) {
    Geometry grid;
    EXPECT_THAT(warnings(nrrd(nrrd_fields().with("space", space)), &grid),
                AllOf(HasSubstr("no orientation in the file"), HasSubstr(space),
                      HasSubstr("taken as L, P, S"), HasSubstr("a.nrrd")));
    EXPECT_EQ(grid.point({1, 1, 1}), (Point{12, 23, 34}));
  }
  const auto with_time = nrrd_fields()
                             .with("space directions", "(2,0,0,0) (0,3,0,0) (0,0,4,0)")
                             .with("space origin", "(10,20,30,0)");
  for (const char* space : {"scanner-xyz-time", "3D-right-handed-time", "3D-left-handed-time"}) {
    EXPECT_THAT(warnings(nrrd(with_time.with("space", space))), HasSubstr("taken as L, P, S"));
  }
  const auto unnamed = nrrd_fields().without("space").with("space dimension", "3");
  EXPECT_THAT(warnings(nrrd(unnamed)),
              AllOf(HasSubstr("its space has no name"), HasSubstr("taken as L, P, S")));
  EXPECT_THAT(warnings(nrrd(nrrd_fields().without("space origin"))), HasSubstr("no origin"));
}

TEST_F(NrrdTest, RefusesASpaceItDoesNotKnow) {
  for (const char* space : {"RPS", "LPI", "left-posterior", "talairach", "2D-right-handed", "none"})
    expect_image_refused(nrrd(nrrd_fields().with("space", space)), "expected right-anterior");
  expect_image_refused(nrrd(nrrd_fields().without("space")), "no space they lie in");
  expect_image_refused(nrrd(nrrd_fields().with("space dimension", "2")), "space dimension");
  expect_image_refused(nrrd(nrrd_fields().without("space").with("space dimension", "4")),
                       "space dimension");
  expect_image_refused(nrrd(nrrd_fields().with("space directions", "").with("spacings", "2 3 4")),
                       "no space directions");
}

TEST_F(NrrdTest, WithoutASpaceSpacingsMinimaAndMaximaCount) {
  const auto bare =
      nrrd_fields().without("space").without("space directions").without("space origin");
  Geometry grid;
  EXPECT_THAT(warnings(nrrd(bare.with("spacings", "2 3 4")), &grid),
              AllOf(HasSubstr("taken as L, P, S from 0 on"),
                    ::testing::Not(HasSubstr("no voxel spacing"))));
  EXPECT_EQ(grid.spacing_mm, (Point{2, 3, 4}));
  EXPECT_EQ(grid.origin_mm, (Point{0, 0, 0}));
  EXPECT_THAT(warnings(nrrd(bare), &grid), HasSubstr("no voxel spacing in the file, 1 mm assumed"));
  EXPECT_EQ(grid.spacing_mm, (Point{1, 1, 1}));
  // Cells reach from the minimum to the maximum: 4 cells of 2, 3 of 3, 2 of 4 mm.
  const auto limits = bare.with("axis mins", "10 20 30").with("axis maxs", "18 29 38");
  EXPECT_THAT(warnings(nrrd(limits), &grid), ::testing::Not(HasSubstr("no voxel spacing")));
  EXPECT_EQ(grid.spacing_mm, (Point{2, 3, 4}));
  EXPECT_EQ(grid.origin_mm, (Point{11, 21.5, 32}));
  warnings(nrrd(bare.with("axis mins", "10 20 30").with("spacings", "2 3 4")), &grid);
  EXPECT_EQ(grid.origin_mm, (Point{11, 21.5, 32}));
  // Nodes lie on them: 3 steps of 2, 2 of 3, 1 of 4 mm.
  const auto nodes = bare.with("axis mins", "10 20 30")
                         .with("axis maxs", "16 26 34")
                         .with("centers", "node node node");
  warnings(nrrd(nodes), &grid);
  EXPECT_EQ(grid.spacing_mm, (Point{2, 3, 4}));
  EXPECT_EQ(grid.origin_mm, (Point{10, 20, 30}));
  expect_image_refused(nrrd(limits.with("spacings", "2 3 8")), "minimum, maximum and size make 4");
}

TEST_F(NrrdTest, RefusesAGridBeyondAnythingThatWasEverScanned) {
  for (const char* step : {"(1e150,0,0)", "(1e7,0,0)", "(1e-7,0,0)", "(1e-100,0,0)"})
    expect_image_refused(
        nrrd(nrrd_fields().with("space directions", std::string(step) + " (0,3,0) (0,0,4)")),
        "along x, expected 1e-06 to 1e+06 mm");
  expect_image_refused(nrrd(nrrd_fields()
                                .without("space")
                                .without("space directions")
                                .without("space origin")
                                .with("spacings", "1e308 3 4")),
                       "voxel spacing 1e+308 along x");
  expect_image_refused(nrrd(nrrd_fields().with("space origin", "(0,-1e300,0)")),
                       "origin -1e+300 along y, expected at most 1e+09 mm");
}

TEST_F(NrrdTest, RefusesASpacingThatIsNoLength) {
  const auto bare =
      nrrd_fields().without("space").without("space directions").without("space origin");
  for (const char* spacings : {"nan 3 4", "nan nan nan", "2 NaN 4", "2 3 inf", "0 3 4", "2 -3 4"})
    expect_image_refused(nrrd(bare.with("spacings", spacings)), "voxel spacing");
  for (const char* spacings : {"2 3", "2 3 4 5", "2 3 x", "2,3,4", "two 3 4"})
    expect_image_refused(nrrd(bare.with("spacings", spacings)), "found spacings \"");
  const auto turned = [](const std::string& directions) {
    return nrrd_fields().with("space directions", directions);
  };
  expect_image_refused(nrrd(turned("(0,0,0) (0,3,0) (0,0,4)")), "is 0");
  expect_image_refused(nrrd(turned("(2,0,0) (nan,3,0) (0,0,4)")), "nan");
  expect_image_refused(nrrd(turned("(2,0,0) (0,3,0) (0,0,inf)")), "inf");
  expect_image_refused(nrrd(turned("none (0,3,0) (0,0,4)")), "no space direction");
  expect_image_refused(nrrd(turned("(2,0,0) (0,3,0)")), "2 space directions for 3 axes");
  expect_image_refused(nrrd(turned("(2,0,0) (0,3,0) (0,0,4")), "no vectors");
  expect_image_refused(nrrd(turned("2 0 0 0 3 0 0 0 4")), "no vectors");
  expect_image_refused(nrrd(nrrd_fields().with("space origin", "(10,nan,30)")), "origin nan");
  expect_image_refused(nrrd(nrrd_fields().with("space origin", "(nan,nan,nan)")), "origin nan");
  expect_image_refused(nrrd(nrrd_fields().with("space origin", "(10,20,30) (0,0,0)")), "origin");
  expect_image_refused(nrrd(nrrd_fields().with("spacings", "2 3 4")), "both a space direction");
  EXPECT_NO_THROW(read_image(nrrd(nrrd_fields().with("spacings", "nan nan nan"))));
}

TEST_F(NrrdTest, LengthsInAnotherUnitAreRefusedOnEveryAxis) {
  const auto fields = nrrd_fields();
  for (const char* units : {R"("um" "mm" "mm")", R"("mm" "cm" "mm")", R"("mm" "mm" "m")",
                            R"("mm" "mm" "microns")", "mm mm um"})
    expect_image_refused(nrrd(fields.with("space units", units)), "expected mm");
  for (const char* units : {R"("mm" "mm" "mm")", R"("" "" "")", "mm mm mm", R"("MM" "mm" "mm")"})
    EXPECT_EQ(warnings(nrrd(fields.with("space units", units))), "");
  const auto bare = fields.without("space")
                        .without("space directions")
                        .without("space origin")
                        .with("spacings", "2 3 4");
  expect_image_refused(nrrd(bare.with("units", R"("mm" "mm" "cm")")), "\"cm\"");
  EXPECT_NO_THROW(read_image(nrrd(bare.with("units", R"("mm" "mm" "mm")"))));
}

TEST_F(NrrdTest, ChannelsAreTheFirstAxisHoweverTheHeaderSaysSo) {
  const auto fields = nrrd_fields().with("dimension", "4").with("sizes", "2 3 2 2");
  const auto directed = fields.with("space directions", "none (2,0,0) (0,3,0) (0,0,4)");
  for (const char* kind : {"vector", "list", "2-vector", "complex", "RGB-color"}) {
    const Volume image = read_image(nrrd(directed.with("kinds", kind + std::string(" domain domain "
                                                                                   "domain"))));
    EXPECT_EQ(image.voxels.size(0), 2);
    EXPECT_EQ(image.geometry.size, (Size3{3, 2, 2}));
    EXPECT_EQ(image.geometry.spacing_mm, (Point{2, 3, 4}));
    EXPECT_EQ(image.voxels.index({1, 0, 0, 2}).item<float>(), 6);  // the sixth number
  }
  EXPECT_EQ(read_volume_header(nrrd(directed.without("kinds"))).channels, 2);
  const auto spaced = fields.without("space")
                          .without("space directions")
                          .without("space origin")
                          .with("kinds", "vector space space space")
                          .with("spacings", "nan 2 3 4");
  EXPECT_EQ(read_image(nrrd(spaced)).geometry.spacing_mm, (Point{2, 3, 4}));
  expect_image_refused(nrrd(directed.with("kinds", "domain domain domain domain")), "4-D");
  expect_image_refused(nrrd(directed.with("kinds", "list vector domain domain")), "2 axes");
  expect_image_refused(nrrd(directed.with("kinds", "time domain domain domain")), "time");
  expect_image_refused(nrrd(directed.with("kinds", "vector domain domain")), "3 kinds");
  expect_image_refused(nrrd(directed.with("kinds", "domain domain domain vector")), "channels");
}

TEST_F(NrrdTest, RefusesOneSliceAndSizesThatCannotBe) {
  expect_image_refused(nrrd(nrrd_fields().with("sizes", "4 3 1"), 12), "a 2-D image");
  expect_image_refused(nrrd(nrrd_fields().with("sizes", "4 3")), "2 sizes");
  expect_image_refused(nrrd(nrrd_fields().with("sizes", "4 3 -2")), "impossible");
  expect_image_refused(nrrd(nrrd_fields().with("sizes", "4 3 0"), 0), "impossible");
  expect_image_refused(nrrd(nrrd_fields().with("sizes", "4 3 2.5")), "whole numbers");
  expect_image_refused(nrrd(nrrd_fields().with("sizes", "99999999999999999999 3 2")), "whole");
  expect_image_refused(nrrd(nrrd_fields().with("dimension", "0")), "dimension");
  expect_image_refused(nrrd(nrrd_fields().with("dimension", "17")), "dimension");
  expect_image_refused(nrrd(nrrd_fields().with("dimension", "1000000000000")), "dimension");
}

TEST_F(NrrdTest, ALineThatIsNoFieldIsRefusedAndNotesAreNot) {
  const std::string header = nrrd_fields().text(), end = "\n" + counting();
  const auto with_line = [&](const std::string& line) {
    return testing::written(folder_ / "a.nrrd", header + line + "\n" + end);
  };
  for (const char* line : {"# a: note", "key:=value", "key:=value: with := and: colons", "content:",
                           "content: anything", "Measurement Frame: (1,0,0) (0,1,0) (0,0,1)"})
    EXPECT_EQ(warnings(with_line(line)), "") << line;
  expect_image_refused(with_line("a: key:=value"), "unknown field");
  expect_image_refused(with_line("space direction: (1,0,0)"), "unknown field");
  expect_image_refused(with_line("no field"), "no field");
  expect_image_refused(with_line("Space: LPS"), "twice");
  expect_image_refused(with_line("spacedirections: (1,0,0)"), "twice");
  expect_image_refused(with_line(std::string(255, 'n') + ": 1"), "unknown field");
  expect_image_refused(with_line(std::string(100000, 'n') + ": 1"), "unknown field");
  expect_image_refused(with_line(std::string("\0\x01\x1b[2J: 1", 9)), "\\x1b");
  EXPECT_NO_THROW(read_image(with_line("key:=" + std::string(100000, 'v'))));
  expect_image_refused(with_line("key:=" + std::string(2 << 20, 'v')), "no end");
  expect_image_refused(testing::written(folder_ / "a.nrrd", "NRRD0006\n" + header + end),
                       "version");
}

TEST_F(NrrdTest, NamesOfFieldsMayBeWrittenInAnyCase) {
  std::string text = nrrd_fields().with("space", "LAS").text();
  for (const auto& [from, to] :
       {std::pair{"space directions", "Space Directions"}, std::pair{"space origin", "spaceorigin"},
        std::pair{"sizes", "SIZES"}, std::pair{"short", "INT16"}})
    text.replace(text.find(from), std::string(from).size(), to);
  expect_points(testing::written(folder_ / "a.nrrd", text + "\n" + counting()),
                {{{10, -20, 30}, {12, -20, 30}, {10, -23, 30}, {10, -20, 34}}});
}

// In a space with time the fourth number of each direction is that of time.
TEST_F(NrrdTest, ATimeAxisOfOneStepChangesNothingAndOneOfSeveralIsRefused) {
  const auto lpst = nrrd_fields()
                        .with("dimension", "4")
                        .with("space", "LPST")
                        .with("space origin", "(10,20,30,7)");
  const std::string x = "(2,0,0,0)", y = "(0,3,0,0)", z = "(0,0,4,0)", t = "(0,0,0,5)";
  const std::array<Point, 4> places = {{{10, 20, 30}, {12, 20, 30}, {10, 23, 30}, {10, 20, 34}}};
  const auto last =
      lpst.with("sizes", "4 3 2 1").with("space directions", x + " " + y + " " + z + " " + t);
  const auto first =
      lpst.with("sizes", "1 4 3 2").with("space directions", t + " " + x + " " + y + " " + z);
  for (const auto& fields :
       {last.without("kinds"), last.with("kinds", "domain domain domain domain"),
        last.with("kinds", "space space space time"), first.without("kinds"),
        first.with("kinds", "time domain domain domain")})
    expect_points(nrrd(fields), places);
  EXPECT_EQ(read_image(nrrd(last.without("kinds"))).voxels.index({0, 1, 0, 2}).item<float>(), 15);
  const auto several = last.with("sizes", "3 2 2 2");
  expect_image_refused(nrrd(several.without("kinds")), "its axis 3 is time, of 2 steps");
  expect_image_refused(nrrd(several.with("kinds", "domain domain domain domain")),
                       "save one time step per file");
  expect_image_refused(nrrd(last.with("kinds", "time domain domain domain")), "of 4 steps");
  // Voxels as a list, and no time at all.
  const auto list = lpst.with("sizes", "2 3 2 2")
                        .with("kinds", "list domain domain domain")
                        .with("space directions", "none " + x + " " + y + " " + z);
  EXPECT_EQ(read_image(nrrd(list)).voxels.size(0), 2);
}

TEST_F(NrrdTest, AnAxisOfOneSampleMayStandAnywhere) {
  const auto fields = nrrd_fields().with("dimension", "4").with("sizes", "4 3 2 1");
  const auto list = fields.with("kinds", "domain domain domain list")
                        .with("space directions", "(2,0,0) (0,3,0) (0,0,4) none");
  expect_points(nrrd(list), {{{10, 20, 30}, {12, 20, 30}, {10, 23, 30}, {10, 20, 34}}});
  EXPECT_EQ(read_image(nrrd(list)).voxels.size(0), 1);
  expect_image_refused(nrrd(list.with("sizes", "3 2 2 2")), "not the first axis");
}

TEST_F(NrrdTest, OfAnAxisOfUnknownKindTheDirectionsDecide) {
  const auto fields = nrrd_fields()
                          .with("dimension", "4")
                          .with("sizes", "2 3 2 2")
                          .with("space directions", "none (2,0,0) (0,3,0) (0,0,4)");
  for (const char* kinds : {"??? space space space", "none none none none", "??? ??? ??? ???"})
    EXPECT_EQ(read_image(nrrd(fields.with("kinds", kinds))).voxels.size(0), 2) << kinds;
  expect_image_refused(nrrd(fields.with("kinds", "domain domain domain domain")), "4-D");
}

TEST_F(NrrdTest, CentersAreCellsOrNodesOnePerAxis) {
  const auto fields = nrrd_fields()
                          .without("space")
                          .without("space directions")
                          .without("space origin")
                          .with("axis mins", "0 0 0")
                          .with("axis maxs", "4 6 2");
  Geometry grid;
  warnings(nrrd(fields.with("centers", "cell node ???")), &grid);
  EXPECT_EQ(grid.spacing_mm, (Point{1, 3, 1}));
  EXPECT_EQ(grid.origin_mm, (Point{0.5, 0, 0.5}));
  for (const char* centers : {"node", "cell cell", "cell cell cell node", "cell cell centre"})
    expect_image_refused(nrrd(fields.with("centers", centers)), "its centers");
}

TEST_F(NrrdTest, FieldsOfAxesHaveOneEntryPerAxisEvenWhereTheyChangeNothing) {
  const auto fields = nrrd_fields();
  expect_image_refused(nrrd(fields.with("centers", "node node")), "its centers");
  expect_image_refused(nrrd(fields.with("thicknesses", "1 1")), "thicknesses");
  expect_image_refused(nrrd(fields.with("units", R"("mm" "mm")")), "2 for 3 axes");
  expect_image_refused(nrrd(fields.with("space units", R"("mm" "mm")")), "2 for 3 dimensions");
  EXPECT_TRUE(warnings(nrrd(fields.with("centers", "cell cell cell"))).empty());
  EXPECT_TRUE(warnings(nrrd(fields.with("thicknesses", "nan nan 3"))).empty());
}

TEST_F(NrrdTest, ASpaceWithoutDirectionsGivesNoPlaceToMinimaAndMaxima) {
  const auto fields = nrrd_fields().with("space", "RAS").without("space directions");
  expect_image_refused(nrrd(fields.with("spacings", "2 3 4")), "a space and spacings");
  expect_image_refused(nrrd(fields.with("axis mins", "0 0 0")), "a space and axis mins");
  expect_image_refused(nrrd(fields.with("axis maxs", "8 9 8")), "a space and axis maxs");
}

TEST_F(NrrdTest, ValuesThatStandForOthersAreTold) {
  for (const char* field : {"old min", "oldmax"})
    EXPECT_THAT(warnings(nrrd(nrrd_fields().with(field, "-1000"))),
                AllOf(HasSubstr("\"-1000\""), HasSubstr("taken as they are stored")));
  EXPECT_EQ(warnings(nrrd(nrrd_fields().with("min", "1").with("max", "24"))), "");
}

TEST_F(NrrdTest, VoxelsInSeveralFilesAreCalledSo) {
  for (const char* value : {"LIST\na.raw\nb.raw", "LIST 2\na.raw\nb.raw", "z%03d.raw 1 2 1"})
    expect_image_refused(
        testing::written(folder_ / "a.nhdr", nrrd_fields().text() + "data file: " + value + "\n"),
        "its voxels lie in several files");
  for (const char* name : {"listed.raw", "LIST.raw", "50%.raw"}) {
    testing::written(folder_ / name, counting());
    EXPECT_NO_THROW(read_image(
        testing::written(folder_ / "a.nhdr", nrrd_fields().text() + "data file: " + name + "\n")))
        << name;
  }
}

}  // namespace
}  // namespace lamp
