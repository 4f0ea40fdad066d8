// Random numbers that depend only on their key, such as (seed, epoch, case): any thread may draw
// any of them in any order and gets the same ones, on every machine. (The standard library's
// distributions differ between libraries.)
#pragma once

#include <cstdint>
#include <initializer_list>

namespace lamp {

// SplitMix64 (Steele, Lea, Flood 2014), started from a hash of the key. Cheap to make; not
// thread-safe.
class Random {
 public:
  Random(std::initializer_list<std::uint64_t> key);
  std::uint64_t bits();
  double uniform();                         // [0, 1), 53 bits
  double uniform(double low, double high);  // [low, high)
  double normal();                          // mean 0, standard deviation 1 (Box and Muller)
  std::int64_t below(std::int64_t count);   // 0 ... count - 1; count > 0

 private:
  std::uint64_t state_;
};

}  // namespace lamp
