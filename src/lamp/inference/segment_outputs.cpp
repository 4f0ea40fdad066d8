// One rule for names: what ends like a volume is a file, everything else a folder.
#include "lamp/inference/segment_outputs.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <system_error>

#include "lamp/base/errors.h"
#include "lamp/base/output_lock.h"
#include "lamp/base/setting_name.h"
#include "lamp/base/text.h"
#include "lamp/formats/volume_io.h"
#include "lamp/formats/volume_mark.h"
#include "lamp/preview/png.h"

namespace lamp {
namespace {

namespace fs = std::filesystem;

constexpr std::array<const char*, 4> kFormats = {"nii.gz", "nii", "nrrd", "mha"};
constexpr const char* kFormatList = "nii.gz, nii, nrrd or mha";

// Endings that people give to files, never to folders.
constexpr std::array kOtherEndings = {
    "nhdr", "mhd", "hdr",  "img", "mgz", "mgh", "mnc",  "dcm", "ima",         "gipl",
    "vtk",  "vti", "nia",  "raw", "npy", "npz", "h5",   "mat", "tif",         "tiff",
    "png",  "jpg", "jpeg", "bmp", "pdf", "svg", "json", "csv", "txt",         "xml",
    "gz",   "bz2", "xz",   "zst", "zip", "tar", "tgz",  "stl", "safetensors", "pt"};

// The format that `path` ends in, if any.
std::optional<std::string> format_of(const fs::path& path) {
  const std::string name = lower(path.filename().string());
  for (const std::string format : kFormats)
    if (name.size() > format.size() + 1 && name.ends_with("." + format)) return format;
  return std::nullopt;
}

bool is_bare_format(const fs::path& path) {
  const std::string name = lower(path.filename().string());
  return std::any_of(kFormats.begin(), kFormats.end(),
                     [&](const char* format) { return name == std::string(".") + format; });
}

bool ends_like_a_file(const fs::path& path) {
  const std::string extension = lower(path.extension().string());
  return std::any_of(kOtherEndings.begin(), kOtherEndings.end(),
                     [&](const char* ending) { return extension == std::string(".") + ending; });
}

// Throws UsageError for what is neither a folder nor a volume that can be written.
bool names_a_file(const fs::path& output) {
  if (output.empty())
    throw UsageError(setting_name("output") +
                     ": found an empty name, expected a folder or a label map");
  if (output == "-")
    throw UsageError(setting_name("output") +
                     ": label maps do not go to the standard output; name a folder or a file");
  std::error_code error;
  if (output.filename().empty() || fs::is_directory(output, error)) return false;
  if (format_of(output)) return true;
  if (is_bare_format(output) || ends_like_a_file(output))
    throw UsageError(setting_name("output") + ": " + output.string() + ": found a name in \"" +
                     output.extension().string() + "\", expected a folder, or a label map in " +
                     kFormatList);
  if (fs::exists(fs::symlink_status(output, error)))
    throw UsageError(setting_name("output") + ": " + output.string() +
                     ": found a file, expected a folder, new or old; choose another name");
  return false;
}

std::string format_to_write(const fs::path& output, bool is_file, const std::string& asked) {
  if (!is_file) return asked.empty() ? kFormats.front() : asked;
  const std::string named = *format_of(output);
  if (!asked.empty() && asked != named)
    throw UsageError(setting_to("format", asked) + " contradicts " +
                     setting_to("output", output.string()) + ", which says " + named +
                     "; leave one of them out");
  return named;
}

void refuse_shared_names(const SegmentOutputs& outputs, const std::vector<InputCase>& cases,
                         bool saved) {
  std::map<fs::path, std::string> owners;
  const auto claim = [&](const fs::path& file, const std::string& owner) {
    const auto [other, is_new] = owners.emplace(file, owner);
    if (!is_new)
      throw UsageError(setting_name("output") + ": " + file.string() + " would be " +
                       other->second + " and " + owner +
                       "; segment them into different folders or rename one");
  };
  for (std::size_t i = 0; i < cases.size(); ++i)
    claim(outputs.labels[i], "the label map of " + cases[i].describe());
  for (std::size_t i = 0; saved && i < cases.size(); ++i)
    claim(outputs.probabilities[i], "the probabilities of " + cases[i].describe());
}

void add_files(SegmentOutputs& outputs, const std::vector<InputCase>& cases,
               const SegmentOptions& options) {
  const auto add = [&](const std::vector<fs::path>& volumes) {
    for (const fs::path& file : volumes)
      outputs.files.add({setting_name("output"), file, own_volume(kSegmentWriter)});
  };
  add(outputs.labels);
  if (options.save_probabilities) add(outputs.probabilities);
  if (options.preview)
    for (const fs::path& file : outputs.previews)
      outputs.files.add({setting_name("preview"), file, own_png()});
  if (!outputs.report.empty())
    outputs.files.add({setting_name("output"), outputs.report, own_json(kSegmentWriter)});
  for (const InputCase& input : cases)
    for (const ChannelFile& channel : input.files) outputs.files.protect(channel.file);
}

}  // namespace

bool remove_older_probabilities(const fs::path& file) {
  std::error_code error;
  if (!fs::is_regular_file(fs::symlink_status(file, error)) || !own_volume(kSegmentWriter)(file))
    return false;
  try {
    return read_volume_header(file).channels > 1 && fs::remove(file, error);
  } catch (const Error&) {  // it cannot be told what it is
    return false;
  }
}

void refuse_folder_of_inputs(const fs::path& output, const std::vector<std::string>& inputs) {
  std::error_code error;
  for (const std::string& input : inputs)
    if (fs::is_directory(input, error) && fs::equivalent(input, output, error))
      throw UsageError(setting_name("output") + ": " + output.string() +
                       ": found the folder of the images, expected another one, or the label maps "
                       "would be taken for images");
}

std::string parse_format(const std::string& text) {
  const std::string format = lower(text.starts_with('.') ? text.substr(1) : text);
  if (std::find(kFormats.begin(), kFormats.end(), format) == kFormats.end())
    throw UsageError(setting_name("format") + ": found \"" + shortened(text) + "\", expected " +
                     kFormatList);
  return format;
}

SegmentOutputs plan_outputs(const fs::path& output, const SegmentOptions& options,
                            const std::vector<InputCase>& cases) {
  const bool is_file = names_a_file(output);
  if (is_file && cases.size() > 1)
    throw UsageError(setting_name("output") + ": " + output.string() +
                     " names one label map, found " + std::to_string(cases.size()) +
                     " cases to segment; name a folder");
  const std::string asked = options.format.empty() ? "" : parse_format(options.format);
  const std::string format = "." + format_to_write(output, is_file, asked);
  const fs::path folder = is_file ? output.parent_path() : output;
  SegmentOutputs outputs;
  for (const InputCase& input : cases) {
    std::string stem = input.name, ending = format;
    if (is_file) {  // as it was typed, also in capitals
      const std::string name = output.filename().string();
      stem = name.substr(0, name.size() - format.size());
      ending = name.substr(stem.size());
    }
    outputs.labels.push_back(folder / (stem + ending));
    outputs.probabilities.push_back(folder / (stem + "_prob" + ending));
    outputs.previews.push_back(folder / (stem + ".png"));
  }
  if (!is_file) outputs.report = folder / "segment.json";
  outputs.folder = folder;
  outputs.lock = is_file ? lock_of(outputs.previews.front().stem().string()) : kFolderLock;
  refuse_shared_names(outputs, cases, options.save_probabilities);
  add_files(outputs, cases, options);
  return outputs;
}

}  // namespace lamp
