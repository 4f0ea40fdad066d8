// Damages that find mistakes in parsers: flipped bits, cuts, splices, extreme numbers, words of the
// format in the wrong place, lines and chunks repeated.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "fuzz/fuzz_format.h"
#include "lamp/base/random.h"

namespace lamp::fuzz {

// No input grows beyond this.
inline constexpr std::size_t kLargestInput = std::size_t{4} << 20;

class Mutator {
 public:
  Mutator(const std::vector<std::string>& words, const std::vector<FuzzFiles>& seeds)
      : words_(words), seeds_(seeds) {}

  // A seed with some of its files damaged.
  FuzzFiles input(Random& random) const;

 private:
  void mutate(std::string& bytes, Random& random) const;
  void insert_word(std::string& bytes, Random& random) const;
  void splice(std::string& bytes, Random& random) const;

  const std::vector<std::string>& words_;
  const std::vector<FuzzFiles>& seeds_;
};

}  // namespace lamp::fuzz
