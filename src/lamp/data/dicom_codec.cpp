// The only file that includes GDCM.
#include "lamp/data/dicom_codec.h"

#include <gdcmImage.h>
#include <gdcmImageReader.h>
#include <gdcmTrace.h>

#include <cstdint>
#include <exception>
#include <mutex>
#include <sstream>
#include <string>

#include "lamp/base/errors.h"

namespace lamp {
namespace {

// Explicit VR little endian, as all encapsulated syntaxes are.
class Composer {
 public:
  void element(std::uint16_t group, std::uint16_t tag, const std::string& type, std::string value) {
    if (value.size() % 2) value += type == "UI" ? '\0' : ' ';
    word(group);
    word(tag);
    bytes_ += type;
    word(static_cast<std::uint16_t>(value.size()));
    bytes_ += value;
  }
  void number(std::uint16_t group, std::uint16_t tag, std::int64_t value) {
    element(group, tag, "US", {static_cast<char>(value & 255), static_cast<char>(value >> 8)});
  }
  void pixels(std::string_view fragments) {
    word(0x7FE0);
    word(0x0010);
    bytes_ += "OB";
    bytes_.append("\0\0\xFF\xFF\xFF\xFF", 6);
    bytes_ += fragments;
  }
  const std::string& bytes() const { return bytes_; }

 private:
  void word(std::uint16_t value) {
    bytes_ += static_cast<char>(value & 255);
    bytes_ += static_cast<char>(value >> 8);
  }

  std::string bytes_;
};

// The smallest file that says how to decode the voxels.
std::string compose(const EncodedSlice& slice) {
  const std::string kind = "1.2.840.10008.5.1.4.1.1.7", name = "1.2.3";
  const DicomPixels& layout = slice.layout;
  Composer file;
  file.element(2, 2, "UI", kind);
  file.element(2, 3, "UI", name);
  file.element(2, 0x10, "UI", slice.transfer_syntax);
  file.element(8, 0x16, "UI", kind);
  file.element(8, 0x18, "UI", name);
  file.element(8, 0x60, "CS", "OT");
  file.element(0x20, 0xD, "UI", name);
  file.element(0x20, 0xE, "UI", name);
  file.number(0x28, 2, 1);
  file.element(0x28, 4, "CS", "MONOCHROME2");
  file.number(0x28, 0x10, layout.height);
  file.number(0x28, 0x11, layout.width);
  file.number(0x28, 0x100, layout.bits_allocated);
  file.number(0x28, 0x101, layout.bits_stored);
  file.number(0x28, 0x102, layout.high_bit);
  file.number(0x28, 0x103, layout.is_signed ? 1 : 0);
  file.pixels(slice.fragments);
  return std::string(128, '\0') + "DICM" + file.bytes();
}

std::string decode(const std::string& composed, std::size_t expected_bytes) {
  static std::mutex mutex;  // GDCM's settings are global
  const std::lock_guard lock(mutex);
  gdcm::Trace::WarningOff();
  gdcm::Trace::ErrorOff();
  gdcm::Trace::DebugOff();
  std::istringstream stream(composed);
  gdcm::ImageReader reader;
  reader.SetStream(stream);
  if (!reader.Read()) return "";
  const gdcm::Image& image = reader.GetImage();
  std::string bytes(expected_bytes, '\0');
  if (image.GetBufferLength() != expected_bytes || !image.GetBuffer(bytes.data())) return "";
  return bytes;
}

}  // namespace

std::string decode_fragments(const EncodedSlice& slice, const std::string& file) {
  std::string bytes;
  try {
    bytes = decode(compose(slice), static_cast<std::size_t>(slice.layout.bytes()));
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception&) {  // said below
  }
  if (bytes.empty())
    throw InputError("cannot read", file,
                     "its compressed voxels cannot be decoded; get the file again, or convert the "
                     "series to explicit VR little endian");
  return bytes;
}

}  // namespace lamp
