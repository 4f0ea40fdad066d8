// From one data element to the next through the bytes of a DICOM file, without trust in any length.
// Not part of the library's interface.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "lamp/formats/dicom_elements.h"

namespace lamp {

// Where the first element is: behind the preamble and "DICM", or at the start of a file without
// them. Nothing if the bytes are no DICOM.
std::optional<std::size_t> find_dicom_start(std::string_view bytes);

class DicomWalker {
 public:
  struct Input {
    std::string_view bytes;       // the file or its beginning
    std::uint64_t file_size = 0;  // of all of it
    std::uint64_t at = 0;         // where the first element is
    const std::string& file;      // its name, for messages
  };
  struct NeedsMore {};  // thrown where the bytes end before the file does

  explicit DicomWalker(const Input& input);

  using Elements = std::map<std::uint32_t, DicomElement>;
  // The file's meta information (group 2), which is always explicit.
  Elements meta();
  // Everything behind it, to the end of the file, in the transfer syntax of that name; without a
  // name the first element shows whether types are explicit. Throws InputError for syntaxes that
  // are not little endian, and for files that are damaged.
  Elements body(const std::string& transfer_syntax);
  bool encapsulated() const { return encapsulated_; }

 private:
  struct Head {
    std::uint32_t tag = 0;
    std::string type;
    std::uint32_t length = 0;
  };

  [[noreturn]] void damaged() const;
  void require(std::uint64_t count) const;
  template <typename T>
  T number();
  void take(std::uint64_t length);
  bool is_explicit(const std::string& transfer_syntax) const;
  Head next(bool explicit_types);
  void skip_value(const Head& element, bool explicit_types, int depth);
  void skip_items(const Head& sequence, bool explicit_types, int depth);
  void skip_elements(std::uint32_t length, bool explicit_types, int depth);

  std::string_view bytes_;
  std::uint64_t file_size_;
  std::uint64_t at_;
  const std::string& file_;
  bool encapsulated_ = false;
};

}  // namespace lamp
