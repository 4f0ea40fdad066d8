// Pairs of Unicode's table of canonical decompositions, ordered by mark, so that a line shows what
// a mark is put on.
#include "lamp/base/unicode_form.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <map>
#include <utility>
#include <vector>

namespace lamp {
namespace {

// First and last of each range.
constexpr std::array<std::pair<char32_t, char32_t>, 11> kUnseen = {{
    {0x80, 0x9F},        // terminals obey some of them as they do escape
    {0xAD, 0xAD},        // soft hyphen
    {0x61C, 0x61C},      // Arabic letter mark
    {0x180E, 0x180E},    // Mongolian vowel separator
    {0x200B, 0x200F},    // zero-width space, joiners, direction marks
    {0x2028, 0x202E},    // separators of lines, directions and overrides
    {0x2060, 0x206F},    // word joiner, invisible operators, isolates
    {0xFEFF, 0xFEFF},    // byte order mark
    {0xFFF9, 0xFFFB},    // annotations
    {0x1D173, 0x1D17A},  // of musical notation
    {0xE0000, 0xE0FFF},  // tags and selectors of variants
}};

struct Mark {
  char32_t mark;
  int combining_class;  // marks of different classes are sorted by it
  const char* pairs;    // character without the mark, character with it, ...
};

// clang-format off
constexpr std::array<Mark, 34> kMarks = {{
    {0x0300, 230, "AÀEÈIÌOÒUÙaàeèiìoòuùÜǛüǜNǸnǹЕЀИЍеѐиѝĒḔēḕŌṐōṑWẀwẁÂẦâầĂẰăằÊỀêề" "ÔỒôồƠỜơờƯỪưừYỲyỳ"},
    {0x0301, 230, "AÁEÉIÍOÓUÚYÝaáeéiíoóuúyýCĆcćLĹlĺNŃnńRŔrŕSŚsśZŹzźÜǗüǘGǴgǵÅǺåǻ" "ÆǼæǽØǾøǿ¨΅ΑΆΕΈΗΉΙΊΟΌΥΎΩΏϊΐαάεέηήιίϋΰοόυύωώϒϓГЃКЌгѓкќÇḈçḉĒḖēḗ" "ÏḮïḯKḰkḱMḾmḿÕṌõṍŌṒōṓPṔpṕŨṸũṹWẂwẃÂẤâấĂẮăắÊẾêếÔỐôốƠỚơớƯỨưứ"},
    {0x0302, 230, "AÂEÊIÎOÔUÛaâeêiîoôuûCĈcĉGĜgĝHĤhĥJĴjĵSŜsŝWŴwŵYŶyŷZẐzẑẠẬạậẸỆẹệ" "ỌỘọộ"},
    {0x0303, 230, "AÃNÑOÕaãnñoõIĨiĩUŨuũVṼvṽÂẪâẫĂẴăẵEẼeẽÊỄêễÔỖôỗƠỠơỡƯỮưữYỸyỹ"},
    {0x0304, 230, "AĀaāEĒeēIĪiīOŌoōUŪuūÜǕüǖÄǞäǟȦǠȧǡÆǢæǣǪǬǫǭÖȪöȫÕȬõȭȮȰȯȱYȲyȳИӢиӣ" "УӮуӯGḠgḡḶḸḷḹṚṜṛṝ"},
    {0x0306, 230, "AĂaăEĔeĕGĞgğIĬiĭOŎoŏUŬuŭУЎИЙийуўЖӁжӂАӐаӑЕӖеӗȨḜȩḝẠẶạặ"},
    {0x0307, 230, "CĊcċEĖeėGĠgġIİZŻzżAȦaȧOȮoȯBḂbḃDḊdḋFḞfḟHḢhḣMṀmṁNṄnṅPṖpṗRṘrṙSṠ" "sṡŚṤśṥŠṦšṧṢṨṣṩTṪtṫWẆwẇXẊxẋYẎyẏſẛ"},
    {0x0308, 230, "AÄEËIÏOÖUÜaäeëiïoöuüyÿYŸΙΪΥΫιϊυϋϒϔЕЁІЇеёіїАӒаӓӘӚәӛЖӜжӝЗӞзӟИӤ" "иӥОӦоӧӨӪөӫЭӬэӭУӰуӱЧӴчӵЫӸыӹHḦhḧÕṎõṏŪṺūṻWẄwẅXẌxẍtẗ"},
    {0x0309, 230, "AẢaảÂẨâẩĂẲăẳEẺeẻÊỂêểIỈiỉOỎoỏÔỔôổƠỞơởUỦuủƯỬưửYỶyỷ"},
    {0x030A, 230, "AÅaåUŮuůwẘyẙ"},
    {0x030B, 230, "OŐoőUŰuűУӲуӳ"},
    {0x030C, 230, "CČcčDĎdďEĚeěLĽlľNŇnňRŘrřSŠsšTŤtťZŽzžAǍaǎIǏiǐOǑoǒUǓuǔÜǙüǚGǦgǧ" "KǨkǩƷǮʒǯjǰHȞhȟ"},
    {0x030F, 230, "AȀaȁEȄeȅIȈiȉOȌoȍRȐrȑUȔuȕѴѶѵѷ"},
    {0x0311, 230, "AȂaȃEȆeȇIȊiȋOȎoȏRȒrȓUȖuȗ"},
    {0x031B, 216, "OƠoơUƯuư"},
    {0x0323, 220, "BḄbḅDḌdḍHḤhḥKḲkḳLḶlḷMṂmṃNṆnṇRṚrṛSṢsṣTṬtṭVṾvṿWẈwẉZẒzẓAẠaạEẸeẹ" "IỊiịOỌoọƠỢơợUỤuụƯỰưựYỴyỵ"},
    {0x0324, 220, "UṲuṳ"},
    {0x0325, 220, "AḀaḁ"},
    {0x0326, 220, "SȘsșTȚtț"},
    {0x0327, 202, "CÇcçGĢgģKĶkķLĻlļNŅnņRŖrŗSŞsşTŢtţEȨeȩDḐdḑHḨhḩ"},
    {0x0328, 202, "AĄaąEĘeęIĮiįUŲuųOǪoǫ"},
    {0x032D, 220, "DḒdḓEḘeḙLḼlḽNṊnṋTṰtṱUṶuṷ"},
    {0x032E, 220, "HḪhḫ"},
    {0x0330, 220, "EḚeḛIḬiḭUṴuṵ"},
    {0x0331, 220, "BḆbḇDḎdḏKḴkḵLḺlḻNṈnṉRṞrṟTṮtṯZẔzẕhẖ"},
    {0x0338, 1, "←↚→↛↔↮⇐⇍⇔⇎⇒⇏∃∄∈∉∋∌∣∤∥∦∼≁≃≄≅≇≈≉=≠≡≢≍≭<≮>≯≤≰≥≱≲≴≳≵≶≸≷≹≺⊀≻⊁⊂⊄⊃⊅" "⊆⊈⊇⊉⊢⊬⊨⊭⊩⊮⊫⊯≼⋠≽⋡⊑⋢⊒⋣⊲⋪⊳⋫⊴⋬⊵⋭"},
    {0x0653, 230, "اآ"},
    {0x0654, 230, "اأوؤيئەۀہۂےۓ"},
    {0x0655, 220, "اإ"},
    {0x093C, 7, "नऩरऱळऴ"},
    {0x0C56, 91, "ెై"},
    {0x0DCA, 9, "ෙේොෝ"},
    {0x3099, 8, "かがきぎくぐけげこごさざしじすずせぜそぞただちぢつづてでとどはばひびふぶへべほぼうゔゝゞカガキギクグケゲコゴサザシジスズ" "セゼソゾタダチヂツヅテデトドハバヒビフブヘベホボウヴワヷヰヸヱヹヲヺヽヾ"},
    {0x309A, 8, "はぱひぴふぷへぺほぽハパヒピフプヘペホポ"},
}};
// clang-format on

// Korean syllables are taken apart by arithmetic (Unicode, chapter 3.12).
constexpr char32_t kSyllables = 0xAC00, kLeading = 0x1100, kVowels = 0x1161, kTrailing = 0x11A7;
constexpr char32_t kVowelCount = 21, kTrailingCount = 28, kSyllableCount = 11172;

// How many bytes the character at `at` has; 0 if they are no UTF-8.
std::size_t length_at(const std::string& text, std::size_t at) {
  const auto lead = static_cast<unsigned char>(text[at]);
  const std::size_t length = lead < 0x80   ? 1
                             : lead < 0xC2 ? 0
                             : lead < 0xE0 ? 2
                             : lead < 0xF0 ? 3
                             : lead < 0xF5 ? 4
                                           : 0;
  if (length == 0 || at + length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i)
    if ((static_cast<unsigned char>(text[at + i]) & 0xC0) != 0x80) return 0;
  return length;
}

char32_t character_at(const std::string& text, std::size_t at, std::size_t length) {
  constexpr std::array<unsigned, 5> kLeadBits = {0, 0x7F, 0x1F, 0x0F, 0x07};
  char32_t character = static_cast<unsigned char>(text[at]) & kLeadBits[length];
  for (std::size_t i = 1; i < length; ++i)
    character = character << 6 | (static_cast<unsigned char>(text[at + i]) & 0x3F);
  return character;
}

void append(std::string& text, char32_t c) {
  const auto byte = [&](char32_t value) { text += static_cast<char>(value); };
  if (c < 0x80) return byte(c);
  if (c >= 0x10000) byte(0xF0 | c >> 18);
  if (c >= 0x10000) byte(0x80 | (c >> 12 & 0x3F));
  if (c >= 0x800 && c < 0x10000) byte(0xE0 | c >> 12);
  if (c >= 0x800) byte(0x80 | (c >> 6 & 0x3F));
  if (c < 0x800) byte(0xC0 | c >> 6);
  byte(0x80 | (c & 0x3F));
}

using Pairs = std::map<char32_t, std::pair<char32_t, char32_t>>;

Pairs read_table() {
  Pairs pairs;
  for (const Mark& mark : kMarks) {
    const std::string text = mark.pairs;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t first = length_at(text, at), second = length_at(text, at + first);
      pairs[character_at(text, at + first, second)] = {character_at(text, at, first), mark.mark};
      at += first + second;
    }
  }
  return pairs;
}

void take_apart(char32_t character, std::vector<char32_t>& out) {
  static const Pairs pairs = read_table();
  if (const auto found = pairs.find(character); found != pairs.end()) {
    take_apart(found->second.first, out);
    out.push_back(found->second.second);
  } else if (character >= kSyllables && character < kSyllables + kSyllableCount) {
    const char32_t index = character - kSyllables, trailing = index % kTrailingCount;
    out.push_back(kLeading + index / (kVowelCount * kTrailingCount));
    out.push_back(kVowels + index / kTrailingCount % kVowelCount);
    if (trailing > 0) out.push_back(kTrailing + trailing);
  } else {
    out.push_back(character);
  }
}

int class_of(char32_t character) {
  for (const Mark& mark : kMarks)
    if (mark.mark == character) return mark.combining_class;
  return 0;
}

// Marks behind one character, sorted by class; equal classes keep their order.
void sort_marks(std::vector<char32_t>& characters) {
  for (std::size_t start = 0; start < characters.size(); ++start) {
    std::size_t end = start;
    while (end < characters.size() && class_of(characters[end]) > 0) ++end;
    std::stable_sort(characters.begin() + static_cast<std::ptrdiff_t>(start),
                     characters.begin() + static_cast<std::ptrdiff_t>(end),
                     [](char32_t a, char32_t b) { return class_of(a) < class_of(b); });
    start = std::max(start, end);
  }
}

}  // namespace

std::string decomposed(const std::string& text) {
  std::string result;
  std::vector<char32_t> run;  // of valid characters
  const auto finish = [&] {
    sort_marks(run);
    for (const char32_t character : run) append(result, character);
    run.clear();
  };
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = length_at(text, at);
    if (length == 0) {
      finish();
      result += text[at++];
      continue;
    }
    take_apart(character_at(text, at, length), run);
    at += length;
  }
  finish();
  return result;
}

std::optional<UnseenCharacter> unseen_character_at(const std::string& text, std::size_t at) {
  if (static_cast<unsigned char>(text[at]) < 0x80) return std::nullopt;
  const std::size_t length = length_at(text, at);
  if (length == 0) return std::nullopt;
  const char32_t character = character_at(text, at, length);
  const bool unseen = std::any_of(kUnseen.begin(), kUnseen.end(), [&](const auto& range) {
    return range.first <= character && character <= range.second;
  });
  if (!unseen) return std::nullopt;
  char name[16];
  std::snprintf(name, sizeof name, "U+%04X", static_cast<unsigned>(character));
  return UnseenCharacter{name, length};
}

std::optional<UnseenCharacter> unseen_character(const std::string& text, Joiners joiners) {
  for (std::size_t at = 0; at < text.size(); ++at) {
    auto found = unseen_character_at(text, at);
    const bool is_joiner = found && (found->name == "U+200C" || found->name == "U+200D");
    if (found && !(is_joiner && joiners == Joiners::kAllowed)) return found;
  }
  return std::nullopt;
}

bool is_utf8(const std::string& text) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = length_at(text, at);
    if (length == 0) return false;
    const char32_t c = character_at(text, at, length);
    if ((length == 3 && c < 0x800) || (length == 4 && c < 0x10000)) return false;
    if ((c >= 0xD800 && c < 0xE000) || c > 0x10FFFF) return false;
    at += length;
  }
  return true;
}

}  // namespace lamp
