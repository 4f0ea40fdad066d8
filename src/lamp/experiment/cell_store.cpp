#include "lamp/experiment/cell_store.h"

#include <cctype>
#include <cstdint>
#include <utility>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/log.h"

namespace lamp {

CellStore::CellStore(std::filesystem::path folder) : folder_(std::move(folder) / "cells") {}

std::filesystem::path CellStore::file(const std::string& name) const {
  return folder_ / (file_stem(name) + ".json");
}

std::optional<Json> CellStore::find(const std::string& name, const Json& settings) const {
  if (!std::filesystem::exists(file(name))) return std::nullopt;
  try {
    const Json cell = read_json(file(name));
    if (cell.is_object() && cell.value("settings", Json()) == settings) return cell.at("result");
    log_info(name + ": was run with other settings; running it again");
  } catch (const InputError& error) {
    log_warning(std::string(error.what()) + "; running the cell again");
  }
  return std::nullopt;
}

void CellStore::save(const std::string& name, const Json& settings, const Json& result) const {
  make_output_folder(folder_);
  write_file(file(name),
             dump_json({{"cell", name}, {"settings", settings}, {"result", result}}) + "\n");
}

std::string file_stem(const std::string& name) {
  std::string stem;
  std::uint32_t hash = 2166136261U;  // FNV-1a
  for (const char c : name) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 16777619U;
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '-';
    if (plain) {
      stem += c;
    } else if (!stem.empty() && stem.back() != '-') {
      stem += '-';
    }
  }
  constexpr char kHex[] = "0123456789abcdef";
  std::string end;
  for (int shift = 12; shift >= 0; shift -= 4) end += kHex[(hash >> shift) & 15U];
  return stem + (stem.empty() || stem.back() != '-' ? "-" : "") + end;
}

}  // namespace lamp
