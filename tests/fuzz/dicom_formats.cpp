// DICOM: single slices and folders of them, from those that the tests of formats/ make.
#include <string>
#include <vector>

#include "formats/dicom_writer.h"
#include "fuzz/fuzz_format.h"
#include "fuzz/image_readers.h"
#include "lamp/formats/dicom_elements.h"
#include "lamp/formats/dicom_slice.h"
#include "lamp/formats/folder_content.h"

namespace lamp::fuzz {
namespace fs = std::filesystem;
namespace {

constexpr int kDicomSlices = 5;

testing::DicomSlice dicom_slice(int k, testing::DicomEncoding encoding) {
  testing::DicomSlice slice{.number = k + 1,
                            .position_mm = {-10, 20, 30 + 2.5 * k},
                            .spacing_mm = {0.5, 0.75},
                            .encoding = encoding};
  for (int i = 0; i < slice.width * slice.height; ++i)
    slice.values.push_back(static_cast<std::int16_t>(1024 + 100 * k + i));
  if (encoding == testing::DicomEncoding::kImplicitFile ||
      encoding == testing::DicomEncoding::kBareImplicit)
    return slice;
  slice.more[0x00081140] = {
      // a sequence, whose items may nest
      "SQ", std::string("\xFE\xFF\x00\xE0\x0A\x00\x00\x00\x08\x00\x50\x11UI\x02\x00"
                        "1\0",
                        18)};
  return slice;
}

std::vector<std::string> dicom_words() {
  std::vector<std::string> words = {std::string("\xFE\xFF\x00\xE0", 4),
                                    std::string("\xFE\xFF\x0D\xE0\0\0\0\0", 8),
                                    std::string("\xFE\xFF\xDD\xE0\0\0\0\0", 8),
                                    std::string("\xFF\xFF\xFF\xFF", 4),
                                    std::string("SQ\0\0\xFF\xFF\xFF\xFF", 8),
                                    std::string("UN\0\0\xFF\xFF\xFF\xFF", 8),
                                    std::string("\xE0\x7F\x10\0", 4),
                                    "DICM",
                                    "1.2.840.10008.1.2",
                                    "1.2.840.10008.1.2.5",
                                    "1.2.840.10008.1.2.4.70",
                                    "1.2.840.10008.1.2.4.90",
                                    "MONOCHROME1",
                                    "\\",
                                    "1e300\\nan",
                                    "LOCALIZER"};
  for (const char* type : {"AE", "CS", "DS", "IS", "OB", "OW", "SH", "UI", "UL", "US", "UT", "FD"})
    words.emplace_back(type);
  return words;
}

std::vector<FuzzFiles> dicom_file_seeds(const fs::path&) {
  using enum testing::DicomEncoding;
  std::vector<FuzzFiles> seeds;
  for (const auto encoding :
       {kExplicitFile, kImplicitFile, kNoPreamble, kMarkOnly, kBareExplicit, kBareImplicit})
    seeds.push_back({{"a.dcm", testing::dicom_bytes(dicom_slice(1, encoding))}});
  seeds.push_back(
      {{"a.dcm", testing::jpeg_slice(dicom_slice(1, kExplicitFile), testing::jpeg_stream())}});
  return seeds;
}

FuzzFormat dicom_format() {
  return {.name = "dicom",
          .words = dicom_words(),
          .seeds = dicom_file_seeds,
          .readers = {
              {"slice", [](const fs::path& folder) { read_dicom_slice(folder / "a.dcm"); }},
              {"elements", [](const fs::path& folder) {
                 const DicomElements elements(folder / "a.dcm", true);
                 for (const auto tag : {kImagePosition, kPixelSpacing, kPixels, kRows, kFrames}) {
                   elements.text(tag);
                   elements.numbers(tag);
                   elements.word(tag);
                 }
               }}}};
}

std::vector<FuzzFiles> dicom_folder_seeds(const fs::path&) {
  using enum testing::DicomEncoding;
  std::vector<FuzzFiles> seeds;
  for (const auto encoding : {kExplicitFile, kBareImplicit}) {
    FuzzFiles series;
    for (int k = 0; k < kDicomSlices; ++k)
      series.push_back({"IM" + std::to_string(k), testing::dicom_bytes(dicom_slice(k, encoding))});
    seeds.push_back(series);
    series.back().bytes =
        testing::jpeg_slice(dicom_slice(kDicomSlices - 1, kExplicitFile), testing::jpeg_stream());
    seeds.push_back(series);
  }
  return seeds;
}

FuzzFormat dicom_folder_format() {
  FuzzFormat format{.name = "dicom-folder",
                    .words = dicom_words(),
                    .seeds = dicom_folder_seeds,
                    .readers = image_readers([](const fs::path& folder) { return folder; })};
  format.readers.pop_back();  // the seal is a file's
  format.readers.emplace_back("list", [](const fs::path& folder) { list_folder(folder); });
  return format;
}

}  // namespace

std::vector<FuzzFormat> dicom_formats() { return {dicom_format(), dicom_folder_format()}; }

}  // namespace lamp::fuzz
