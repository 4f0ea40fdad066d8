// Data elements as PS3.5, chapter 7 encodes them: a tag, a type where types are explicit, a length,
// a value.
#include "lamp/formats/dicom_walker.h"

#include <cstring>

#include "lamp/base/errors.h"
#include "lamp/base/text.h"

namespace lamp {
namespace {

constexpr std::size_t kPreamble = 128;
constexpr std::uint32_t kUndefined = 0xFFFFFFFF;
constexpr std::uint32_t kItem = 0xFFFEE000, kItemEnd = 0xFFFEE00D, kSequenceEnd = 0xFFFEE0DD;
constexpr int kMostNesting = 32;
// The first value of a data set is short, such as the name of a character set.
constexpr std::uint32_t kLongestFirstValue = 256;

// Types with a length of 16 bits, then those with one of 32.
constexpr std::string_view kValueTypes =
    "AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US "
    "OB OD OF OL OV OW SQ SV UC UN UR UT UV ";
constexpr std::size_t kFirstLongType = 63;
static_assert(kValueTypes.substr(kFirstLongType, 2) == "OB");

// Where `type` is in the table; npos for what is no type.
std::size_t place_of_type(std::string_view type) {
  for (std::size_t place = 0; place < kValueTypes.size(); place += 3)
    if (kValueTypes.substr(place, 2) == type) return place;
  return std::string_view::npos;
}

template <typename T>
T number_at(std::string_view bytes, std::size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

// A data set starts with an element of group 8, explicit or not, and goes on with a later one.
bool starts_data_set(std::string_view bytes) {
  if (bytes.size() < 16 || number_at<std::uint16_t>(bytes, 0) != 8) return false;
  const auto element = number_at<std::uint16_t>(bytes, 2);
  const bool typed = place_of_type(bytes.substr(4, 2)) < kFirstLongType;
  const std::uint32_t length =
      typed ? number_at<std::uint16_t>(bytes, 6) : number_at<std::uint32_t>(bytes, 4);
  if (length > kLongestFirstValue || 8 + length + 4 > bytes.size()) return false;
  const auto group = number_at<std::uint16_t>(bytes, 8 + length);
  return group == 8 && number_at<std::uint16_t>(bytes, 8 + length + 2) > element;
}

bool starts_meta(std::string_view bytes) {
  return bytes.size() >= 8 && number_at<std::uint16_t>(bytes, 0) == 2 &&
         number_at<std::uint16_t>(bytes, 2) <= 0x12 &&
         place_of_type(bytes.substr(4, 2)) != std::string_view::npos;
}

}  // namespace

std::optional<std::size_t> find_dicom_start(std::string_view bytes) {
  constexpr std::string_view kMark = "DICM";
  if (bytes.size() >= kPreamble + kMark.size() && bytes.substr(kPreamble, kMark.size()) == kMark)
    return kPreamble + kMark.size();
  if (bytes.starts_with(kMark)) return kMark.size();
  if (starts_meta(bytes) || starts_data_set(bytes)) return 0;
  return std::nullopt;
}

DicomWalker::DicomWalker(const Input& input)
    : bytes_(input.bytes), file_size_(input.file_size), at_(input.at), file_(input.file) {}

DicomWalker::Elements DicomWalker::meta() {
  Elements elements;
  while (at_ + 8 <= file_size_) {
    require(2);
    if (number_at<std::uint16_t>(bytes_, at_) != 2) break;
    const Head element = next(true);
    const std::uint64_t start = at_;
    take(element.length);
    elements[element.tag] = {element.type, start, element.length};
  }
  return elements;
}

DicomWalker::Elements DicomWalker::body(const std::string& transfer_syntax) {
  if (at_ + 8 > file_size_) damaged();  // nothing but a beginning
  const bool explicit_types = is_explicit(transfer_syntax);
  Elements elements;
  std::uint32_t last = 0;
  while (at_ < file_size_) {
    const Head element = next(explicit_types);
    if (element.tag <= last) damaged();
    last = element.tag;
    const std::uint64_t start = at_;
    skip_value(element, explicit_types, 0);
    elements[element.tag] = {element.type, start, at_ - start};
    if (element.tag == kPixels) encapsulated_ = element.length == kUndefined;
    if (element.tag != kPixels && at_ > bytes_.size()) throw NeedsMore();
  }
  return elements;
}

bool DicomWalker::is_explicit(const std::string& transfer_syntax) const {
  if (transfer_syntax == "1.2.840.10008.1.2") return false;
  if (transfer_syntax.empty()) {
    if (at_ + 6 > bytes_.size()) throw NeedsMore();
    return place_of_type(bytes_.substr(at_ + 4, 2)) != std::string_view::npos;
  }
  const bool deflated = transfer_syntax == "1.2.840.10008.1.2.1.99";
  const bool big_endian = transfer_syntax == "1.2.840.10008.1.2.2";
  if (!transfer_syntax.starts_with("1.2.840.10008.1.2.") || deflated || big_endian)
    cannot_read(
        file_, {.found = "transfer syntax \"" + ascii_text(transfer_syntax) + "\" is not supported",
                .fix = "convert the series to explicit VR little endian"});
  return true;
}

void DicomWalker::damaged() const {
  cannot_read(file_, {.found = "the DICOM file is cut short or damaged", .fix = "get it again"});
}

// The next `count` bytes are at hand.
void DicomWalker::require(std::uint64_t count) const {
  if (at_ > file_size_ || count > file_size_ - at_) damaged();
  if (at_ + count > bytes_.size()) throw NeedsMore();
}

template <typename T>
T DicomWalker::number() {
  require(sizeof(T));
  at_ += sizeof(T);
  return number_at<T>(bytes_, at_ - sizeof(T));
}

void DicomWalker::take(std::uint64_t length) {
  if (length > file_size_ - at_) damaged();
  at_ += length;
}

DicomWalker::Head DicomWalker::next(bool explicit_types) {
  Head element;
  element.tag = std::uint32_t{number<std::uint16_t>()} << 16;
  element.tag |= number<std::uint16_t>();
  const bool bare = element.tag == kItem || element.tag == kItemEnd || element.tag == kSequenceEnd;
  if (!explicit_types || bare) {
    element.length = number<std::uint32_t>();
    return element;
  }
  require(2);
  element.type = bytes_.substr(at_, 2);
  take(2);
  const std::size_t place = place_of_type(element.type);
  if (place == std::string_view::npos) damaged();
  if (place < kFirstLongType) {
    element.length = number<std::uint16_t>();
  } else {
    number<std::uint16_t>();  // reserved
    element.length = number<std::uint32_t>();
  }
  return element;
}

void DicomWalker::skip_value(const Head& element, bool explicit_types, int depth) {
  if (element.length != kUndefined && element.type != "SQ") {
    take(element.length);
  } else {
    // What is unknown and without a length is implicit (PS3.5, 6.2.2).
    skip_items(element, explicit_types && element.type != "UN", depth);
  }
}

// Items up to their delimiter or over the sequence's length.
void DicomWalker::skip_items(const Head& sequence, bool explicit_types, int depth) {
  const bool open = sequence.length == kUndefined, fragments = sequence.tag == kPixels;
  if (depth > kMostNesting || (!open && sequence.length > file_size_ - at_)) damaged();
  const std::uint64_t end = open ? file_size_ : at_ + sequence.length;
  while (open || at_ < end) {
    const Head item = next(explicit_types);
    if (item.tag == kSequenceEnd && open) return;
    if (item.tag != kItem || (fragments && item.length == kUndefined)) damaged();
    if (fragments) {
      take(item.length);
    } else {
      skip_elements(item.length, explicit_types, depth + 1);
    }
  }
  if (at_ != end) damaged();
}

void DicomWalker::skip_elements(std::uint32_t length, bool explicit_types, int depth) {
  if (length != kUndefined && length > file_size_ - at_) damaged();
  const std::uint64_t end = length == kUndefined ? file_size_ : at_ + length;
  while (length == kUndefined || at_ < end) {
    const Head element = next(explicit_types);
    if (element.tag == kItemEnd && length == kUndefined) return;
    skip_value(element, explicit_types, depth);
  }
  if (at_ != end) damaged();
}

}  // namespace lamp
