// Do the values of an image lie where those of the training images lay? A network gives an answer
// for any numbers, also for another scanner's units or a mirrored grey scale.
//
// What is compared is the body: the values above one threshold that separates it from air in the
// training images (Otsu's, over all of them together, after the window). How much air surrounds the
// patient, and by which value a scanner pads its images, moves every percentile of the whole image,
// but lies below the threshold; and as the threshold is a value and not a share, a scaled or
// shifted image cannot move it along. Of the body the quartiles are compared, which a few very
// bright voxels do not move, against the range that they had from case to case in training, widened
// by about a third of the body's range: ordinary scans differ by less, wrong units by more. An
// image without any air whose body is surrounded by its own dark end is another modality's: a part
// that was cut out of a body ends in tissue. A factor between 0 and 1 hardly moves a CT's body,
// which lies around 0, but moves its air: see dark_end.h.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "lamp/base/json.h"
#include "lamp/cases/intensity_stats.h"

namespace lamp {

using Window = std::optional<std::array<double, 2>>;

// The distribution of a training set, for a model's metadata: {"cases", "window", "channels":
// [{"inside", "outside" (of the foreground): {voxels, mean, sd, percentiles}, "body": {"threshold",
// "top", "range", "q25", "q50", "q75", "share", "at_top", "clipped_low", "clipped_high",
// "dark_end":
// {"level", "span"}}}]}. In "body" a pair is the least and the most of any case: quartiles of the
// values above the threshold, their share of the image, and how many of them are at the top of the
// window or above nearly all values of training; the clipped shares are of the whole image;
// "dark_end" is dark_range's, absent where there is none. Null without cases.
Json describe_intensities(const std::vector<Intensities>& cases, const Window& window);

struct IntensityFindings {
  Json numbers;                       // per channel, beside those of training
  std::vector<std::string> warnings;  // one a channel at most, in words with numbers
};

// One image against describe_intensities' result, read from a model. What is null, of another
// number of channels or otherwise unusable gives no warnings, and null numbers.
IntensityFindings compare_intensities(const Intensities& image, const Json& trained,
                                      const Window& window);

// Is that what describe_intensities gives for `channels` channels?
bool usable_intensities(const Json& trained, std::size_t channels);

// A data set against the window that it is to be trained with: foreground or volume clipped to one
// value, or values that leave most of the window unused. Empty without a window.
std::vector<std::string> window_warnings(const std::vector<Intensities>& cases,
                                         const Window& window);

}  // namespace lamp
