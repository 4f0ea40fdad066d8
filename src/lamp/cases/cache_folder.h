// Whose folder a cache is kept in. The cache removes what was used longest ago, and a folder of
// images with a cache between them is neither: so it takes a folder of its own, or none.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>

namespace lamp {

inline constexpr std::size_t kCacheKeyDigits = 32;
// The names of a cache's files without their ending.
bool is_cache_key(const std::string& text);
// Is it called as the cache calls a case or the digests of a case's files? By its name alone.
bool is_cache_file(const std::filesystem::path& file);

// Throws UsageError (of loader.cache) that names what it found, unless the folder is not there,
// empty, or a cache: known by its lamp_cache.json or, from before there was one, by holding
// nothing but a cache's files. What else lies in a cache does not matter. Touches nothing.
void check_cache_folder(const std::filesystem::path& folder);

// check_cache_folder, then makes the folder where it is missing, for this user alone, and marks it.
// Throws Error if the disk refuses.
void claim_cache_folder(const std::filesystem::path& folder);

}  // namespace lamp
