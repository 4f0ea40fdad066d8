// Pictures as PNG files, and which of those that lie on a disk are LAMP's own.
#pragma once

#include <string>

#include "lamp/base/own_output.h"
#include "lamp/preview/raster.h"

namespace lamp {

// The bytes of a file: 8 bits a pixel with the palette of raster.h, and in a text chunk a mark with
// the hash of everything else. The same picture gives the same bytes. Throws Error if libpng fails.
std::string png_bytes(const Raster& raster);

// PNG files with that mark unbroken: whoever changes and saves a picture makes it theirs.
OwnTest own_png();

}  // namespace lamp
