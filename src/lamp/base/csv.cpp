// One pass over the characters each; what is malformed is read as it stands and never refused here.
#include "lamp/base/csv.h"

namespace lamp {

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + "\"";
}

std::vector<std::string_view> csv_records(std::string_view text) {
  std::vector<std::string_view> records;
  std::size_t start = 0;
  bool inside = false, may_open = true;  // at the start of a field, or a quote that was doubled
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (inside) {
      inside = c != '"';
      may_open = !inside;
      continue;
    }
    inside = c == '"' && may_open;
    may_open = c == ',' || c == '\n';
    if (c != '\n') continue;
    const std::size_t end = i > start && text[i - 1] == '\r' ? i - 1 : i;
    records.push_back(text.substr(start, end - start));
    start = i + 1;
  }
  if (start < text.size()) records.push_back(text.substr(start));
  return records;
}

std::vector<std::string> csv_fields(std::string_view record) {
  std::vector<std::string> fields = {""};
  bool inside = false, field_starts = true;
  for (std::size_t i = 0; i < record.size(); ++i) {
    const char c = record[i];
    const bool starts = field_starts;
    field_starts = false;
    if (inside && c == '"' && i + 1 < record.size() && record[i + 1] == '"') {
      fields.back() += record[++i];
    } else if (inside && c == '"') {
      inside = false;
    } else if (!inside && c == '"' && starts) {
      inside = true;
    } else if (!inside && c == ',') {
      fields.emplace_back();
      field_starts = true;
    } else {
      fields.back() += c;
    }
  }
  return fields;
}

}  // namespace lamp
