// What a run was trained on, told by the bytes of its files: a resume on other data would go on
// with a network that has seen other truth, and say nothing of it.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "lamp/base/json.h"
#include "lamp/dataset/datalist.h"

namespace lamp {

inline constexpr const char* kFingerprintFile = "data_fingerprint.json";

// {"format", "version", "path", "labels", "training": [row], "validation": [row]}, a row being
// {"name", "annotated", "images": count, "files": [{"path", "bytes", "inode", "mtime_ns",
// "ctime_ns", "sha256"}]}. Every byte is read once: files that `earlier` (a fingerprint, or null)
// or the stamps in `stamps` (the cache's folder) know with the same size, inode and times are not
// read again. Throws InputError for a file that cannot be read, Interrupted
// at a signal that arrives meanwhile.
Json data_fingerprint(const Dataset& dataset, const Json& earlier,
                      const std::optional<std::filesystem::path>& stamps);

// SHA-256 of labels, names, annotations and bytes, whatever the paths.
std::string content_digest(const Json& fingerprint);

// The run's own record; null if there is none. Runs from before data_fingerprint.json kept names
// and sizes alone, in dataset.json. Throws InputError for a damaged one.
Json read_fingerprint(const std::filesystem::path& run);

// Throws UsageError that names the first file or case that differs. `trained_on`: the digest that
// the run's state keeps (run_state.h), which holds where `before` is lost or was replaced; without
// it a lost record is refused with an InputError, as nothing else tells what was trained on.
void refuse_changed_data(const std::filesystem::path& run, const Json& before, const Json& now,
                         const std::string& trained_on);

}  // namespace lamp
