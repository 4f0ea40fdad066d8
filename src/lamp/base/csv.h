// Comma-separated values as RFC 4180 writes them: a field that holds a comma, a quote or a line
// break stands in quotes, and a quote within is doubled.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lamp {

// `text` as one field of a row.
std::string csv_field(const std::string& text);

// The records of a file, as they stand there, without the line break that ends each. Line breaks
// within quotes belong to their record; a quote opens only at the start of a field.
std::vector<std::string_view> csv_records(std::string_view text);

// The fields of one record, without their quotes.
std::vector<std::string> csv_fields(std::string_view record);

}  // namespace lamp
