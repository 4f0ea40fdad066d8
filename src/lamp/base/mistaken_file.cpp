// Magic numbers of the files that lie beside models and lists of cases.
#include "lamp/base/mistaken_file.h"

#include <array>
#include <utility>

#include "lamp/base/errors.h"
#include "lamp/base/regular_file.h"

namespace lamp {
namespace {

using Magic = std::pair<std::string_view, const char*>;
constexpr std::array<Magic, 11> kMagics = {{{"\x1f\x8b", "a compressed file (an image?)"},
                                            {{"\x5c\x01\0\0", 4}, "a NIfTI image"},
                                            {{"\0\0\x01\x5c", 4}, "a NIfTI image"},
                                            {{"\x1c\x02\0\0", 4}, "a NIfTI image"},
                                            {{"\0\0\x02\x1c", 4}, "a NIfTI image"},
                                            {"NRRD", "an NRRD image"},
                                            {"ObjectTy", "a MetaImage"},
                                            {"NDims", "a MetaImage"},
                                            {"\x89PNG", "a PNG picture"},
                                            {"%PDF", "a PDF document"},
                                            {"PK\x03\x04", "a zip archive or a PyTorch pickle"}}};

constexpr std::size_t kDicomMark = 128;  // where "DICM" stands
constexpr std::size_t kEnough = kDicomMark + 4;

// Eight bytes of length, of which the upper ones are zero, and a JSON object.
bool is_model(std::string_view start) {
  constexpr std::string_view kUpper("\0\0\0\0{", 5);
  return start.size() >= 9 && start.substr(4, 5) == kUpper;
}

}  // namespace

std::string mistaken_kind(std::string_view start) {
  for (const auto& [magic, name] : kMagics)
    if (start.starts_with(magic)) return name;
  if (start.size() >= kEnough && start.substr(kDicomMark, 4) == "DICM") return "a DICOM file";
  return is_model(start) ? "a model (safetensors)" : "";
}

std::string mistaken_kind_of(const std::filesystem::path& file) {
  try {
    return mistaken_kind(RegularFile(file).start(kEnough));
  } catch (const InputError&) {
    return "";
  }
}

}  // namespace lamp
