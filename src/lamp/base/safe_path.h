// Names that come from files of strangers and are to become parts of paths: a data set must never
// lead a write, a removal or a read out of its folder.
#pragma once

#include <filesystem>
#include <string>

namespace lamp {

// Why `name` may not become one part of a path, such as "it holds a '/'"; empty text if it may.
// Refused are nothing, ".", "..", slashes of both kinds, control characters, characters that nobody
// sees (unicode_form.h: a name that is read from right to left is another than it seems), and more
// than 200 bytes. A '-' in front is let through: every path that is made of a name begins with its
// folder, so that no program takes it for an option, and people do have such files.
std::string fault_of_name(const std::string& name);

// Throws InputError of `file` and `what` if fault_of_name finds one.
void check_name(const std::string& name, const std::string& what, const std::string& file);

// Whether `path` is `folder` or below it once links and ".." are followed, as far as the parts
// exist. False if that cannot be found out.
bool lies_inside(const std::filesystem::path& folder, const std::filesystem::path& path);

// The absolute path with links and ".." followed as far as the parts exist, without a slash at its
// end; where that cannot be found out, by the text alone.
std::filesystem::path real_path(const std::filesystem::path& path);

// By the text alone: a path that leads nowhere with ".." and is not absolute.
bool stays_below(const std::filesystem::path& relative);

}  // namespace lamp
