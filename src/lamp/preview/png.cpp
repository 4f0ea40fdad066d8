// libpng reports errors by longjmp, so between setjmp and the last call stand no objects that would
// have to be destroyed. Files on the disk are never decoded: the mark is found by walking the
// chunks.
#include "lamp/preview/png.h"

#include <png.h>

#include <cstdint>
#include <exception>
#include <optional>
#include <string_view>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/sha256.h"

namespace lamp {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSignature = "\x89PNG\r\n\x1a\n";
constexpr const char* kMarkKey = "Software";
constexpr std::string_view kMarkText = "LAMP preview sha256:";
constexpr std::size_t kLargestPng = 16UL << 20;  // a larger one is none of ours
constexpr std::size_t kChunkFrame = 12;          // length, type and checksum

struct PngFile {
  PngFile()
      : png(png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, ignore)),
        info(png == nullptr ? nullptr : png_create_info_struct(png)) {}
  ~PngFile() { png_destroy_write_struct(&png, &info); }
  PngFile(const PngFile&) = delete;
  PngFile& operator=(const PngFile&) = delete;

  static void ignore(png_structp, png_const_charp) {}

  png_structp png;
  png_infop info;
};

void append_bytes(png_structp png, png_bytep bytes, std::size_t count) {
  bool full = false;
  try {
    static_cast<std::string*>(png_get_io_ptr(png))
        ->append(reinterpret_cast<const char*>(bytes), count);
  } catch (const std::exception&) {  // no exception passes through C
    full = true;
  }
  if (full) png_error(png, "out of memory");
}

void flush_nothing(png_structp) {}

// False if libpng failed.
bool write_png(const PngFile& file, const Raster& raster, const png_color* palette, int colours,
               png_text* mark) {
  if (setjmp(png_jmpbuf(file.png))) return false;
  png_set_IHDR(file.png, file.info, static_cast<png_uint_32>(raster.width()),
               static_cast<png_uint_32>(raster.height()), 8, PNG_COLOR_TYPE_PALETTE,
               PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_set_PLTE(file.png, file.info, palette, colours);
  if (mark != nullptr) png_set_text(file.png, file.info, mark, 1);
  png_set_compression_level(file.png, 9);
  png_set_filter(file.png, PNG_FILTER_TYPE_BASE, PNG_FILTER_NONE);
  png_write_info(file.png, file.info);
  for (int y = 0; y < raster.height(); ++y) png_write_row(file.png, raster.row(y));
  png_write_end(file.png, nullptr);
  return true;
}

std::string encoded_png(const Raster& raster, const std::string& mark) {
  std::vector<png_color> palette;
  for (const PixelColour& colour : picture_palette())
    palette.push_back({colour.red, colour.green, colour.blue});
  std::string key = kMarkKey, value = mark, bytes;
  png_text text{};
  text.compression = PNG_TEXT_COMPRESSION_NONE;
  text.key = key.data();
  text.text = value.data();
  text.text_length = value.size();
  const PngFile file;
  if (file.info == nullptr) throw Error("cannot encode a picture: libpng does not start");
  png_set_write_fn(file.png, &bytes, append_bytes, flush_nothing);
  if (!write_png(file, raster, palette.data(), static_cast<int>(palette.size()),
                 mark.empty() ? nullptr : &text))
    throw Error("cannot encode a picture of " + std::to_string(raster.width()) + " x " +
                std::to_string(raster.height()) + " pixels: libpng failed");
  return bytes;
}

std::size_t big_endian(std::string_view four) {
  std::size_t value = 0;
  for (const char byte : four) value = value << 8 | static_cast<unsigned char>(byte);
  return value;
}

struct MarkChunk {
  std::size_t start, end;  // of the chunk in the file
  std::string_view hash;
};

// The first text chunk with LAMP's mark, before the pixels.
std::optional<MarkChunk> find_mark(std::string_view file) {
  const std::string begin = kMarkKey + std::string(1, '\0') + std::string(kMarkText);
  if (!file.starts_with(kSignature)) return std::nullopt;
  for (std::size_t at = kSignature.size(); at + kChunkFrame <= file.size();) {
    const std::size_t length = big_endian(file.substr(at, 4));
    const std::string_view type = file.substr(at + 4, 4);
    if (length > file.size() - at - kChunkFrame || type == "IDAT") break;
    const std::string_view data = file.substr(at + 8, length);
    const std::size_t end = at + kChunkFrame + length;
    if (type == "tEXt" && data.starts_with(begin))
      return MarkChunk{at, end, data.substr(begin.size())};
    at = end;
  }
  return std::nullopt;
}

}  // namespace

std::string png_bytes(const Raster& raster) {
  const std::string hash = sha256(encoded_png(raster, ""));
  return encoded_png(raster, std::string(kMarkText) + hash);
}

OwnTest own_png() {
  return [](const fs::path& path) {
    try {
      const std::string file = read_file(path, kLargestPng);
      const std::optional<MarkChunk> mark = find_mark(file);
      if (!mark) return false;
      return sha256(file.substr(0, mark->start) + file.substr(mark->end)) == mark->hash;
    } catch (const Error&) {
      return false;
    }
  };
}

}  // namespace lamp
