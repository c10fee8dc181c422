// Portable SIMD: one vector register of channels, and the few elementary functions a Gabor needs.
//
// Vectors are the compiler's own (GCC and Clang); on a machine without wide registers the compiler
// splits them, so the same source runs everywhere. Multiply-adds are written a * b + c and left to
// the compiler to contract; nothing here relies on -ffast-math.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

namespace gabor {

constexpr double kPi = 3.14159265358979323846;

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

template <typename T>
struct VectorOf;

template <>
struct VectorOf<float> {
  typedef float Real __attribute__((vector_size(kVectorBytes)));
  typedef int32_t Integer __attribute__((vector_size(kVectorBytes)));
};

template <>
struct VectorOf<double> {
  typedef double Real __attribute__((vector_size(kVectorBytes)));
  typedef int64_t Integer __attribute__((vector_size(kVectorBytes)));
};

template <typename T>
using Vector = typename VectorOf<T>::Real;

template <typename T>
using IntegerVector = typename VectorOf<T>::Integer;

template <typename T>
constexpr int kLanes = kVectorBytes / sizeof(T);

// A channel count in whole vectors.
template <typename T>
constexpr int64_t vectors_for(int64_t channels) {
  return (channels + kLanes<T> - 1) / kLanes<T>;
}

// Uninitialised, aligned scratch memory that frees itself.
template <typename T>
class Buffer {
 public:
  explicit Buffer(int64_t count)
      : data_(static_cast<T*>(
            std::aligned_alloc(64, (static_cast<size_t>(count) * sizeof(T) + 127) / 64 * 64))) {
    if (data_ == nullptr) throw std::bad_alloc();
  }
  Buffer(Buffer&& other) noexcept : data_(std::exchange(other.data_, nullptr)) {}
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { std::free(data_); }

  operator T*() { return data_; }
  operator const T*() const { return data_; }

 private:
  T* data_;
};

// Elements by index from the 2 * lanes elements of a and b.
template <typename V, size_t... kIndex>
inline V shuffle(V a, V b, std::index_sequence<kIndex...>) {
#if __has_builtin(__builtin_shufflevector)
  return __builtin_shufflevector(a, b, static_cast<int>(kIndex)...);
#else
  constexpr size_t lanes = sizeof...(kIndex);
  return V{(kIndex < lanes ? a[kIndex % lanes] : b[kIndex % lanes])...};
#endif
}

// One step of a transposition: blocks of kDistance lanes change places across the diagonal.
template <size_t kDistance, typename V, size_t... kLane>
inline void exchange(V& a, V& b, std::index_sequence<kLane...>) {
  constexpr size_t lanes = sizeof...(kLane);
  const V upper = shuffle(
      a, b,
      std::index_sequence<((kLane & kDistance) == 0 ? kLane : lanes + kLane - kDistance)...>());
  const V lower = shuffle(
      a, b,
      std::index_sequence<((kLane & kDistance) == 0 ? kLane + kDistance : lanes + kLane)...>());
  a = upper;
  b = lower;
}

// Transposes a square of lanes.
template <typename T, size_t kDistance = kLanes<T> / 2>
inline void transpose(Vector<T> (&square)[kLanes<T>]) {
  constexpr size_t lanes = kLanes<T>;
#pragma GCC unroll 16
  for (size_t n = 0; n < lanes; ++n) {
    if ((n & kDistance) == 0) {
      exchange<kDistance>(square[n], square[n + kDistance], std::make_index_sequence<lanes>());
    }
  }
  if constexpr (kDistance > 1) transpose<T, kDistance / 2>(square);
}

template <typename T>
inline Vector<T> load(const T* from) {
  Vector<T> value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

template <typename T>
inline void store(T* to, const Vector<T>& value) {
  std::memcpy(to, &value, sizeof value);
}

using Wide = Vector<double>;

// A vector in double, in as many parts as that takes, for the few steps T is too short for.
template <typename T>
struct Doubled {
  static constexpr int kParts = kLanes<T> / kLanes<double>;
  typedef double Whole __attribute__((vector_size(kLanes<T> * sizeof(double))));

  Wide part[kParts];

  static Doubled of(const Vector<T>& value) {
    const Whole whole = __builtin_convertvector(value, Whole);
    Doubled doubled;
    std::memcpy(doubled.part, &whole, sizeof whole);
    return doubled;
  }

  Vector<T> rounded() const {
    Whole whole;
    std::memcpy(&whole, part, sizeof whole);
    return __builtin_convertvector(whole, Vector<T>);
  }
};

// The vector whose parts a function computes, part by part.
template <typename T, typename Function>
inline Doubled<T> each_part(Function function) {
  Doubled<T> result;
#pragma GCC unroll 4
  for (int n = 0; n < Doubled<T>::kParts; ++n) result.part[n] = function(n);
  return result;
}

template <typename T>
inline Doubled<T> operator*(const Doubled<T>& a, const Doubled<T>& b) {
  return each_part<T>([&](int n) { return a.part[n] * b.part[n]; });
}

template <typename T>
inline Doubled<T> operator+(const Doubled<T>& a, const Doubled<T>& b) {
  return each_part<T>([&](int n) { return a.part[n] + b.part[n]; });
}

template <typename T>
inline Doubled<T> operator-(const Doubled<T>& a, const Doubled<T>& b) {
  return each_part<T>([&](int n) { return a.part[n] - b.part[n]; });
}

template <typename T>
inline Doubled<T> operator-(const Doubled<T>& a) {
  return each_part<T>([&](int n) { return -a.part[n]; });
}

// Vectors of lanes to one run of memory a lane, and back: runs[lane][n] = vectors[n][lane]. Lanes
// past the given number are not written, and read as 0.
template <typename T>
void vectors_to_runs(const Vector<T>* vectors, int64_t count, T* const* runs, int lanes) {
  constexpr int width = kLanes<T>;
  int64_t n = 0;
  for (; n + width <= count; n += width) {
    Vector<T> square[width];
    for (int k = 0; k < width; ++k) square[k] = vectors[n + k];
    transpose<T>(square);
    for (int lane = 0; lane < lanes; ++lane) store(runs[lane] + n, square[lane]);
  }
  for (; n < count; ++n) {
    for (int lane = 0; lane < lanes; ++lane) runs[lane][n] = vectors[n][lane];
  }
}

template <typename T>
void runs_to_vectors(const T* const* runs, int lanes, int64_t count, Vector<T>* vectors) {
  constexpr int width = kLanes<T>;
  int64_t n = 0;
  for (; n + width <= count; n += width) {
    Vector<T> square[width] = {};
    for (int lane = 0; lane < lanes; ++lane) square[lane] = load(runs[lane] + n);
    transpose<T>(square);
    for (int k = 0; k < width; ++k) vectors[n + k] = square[k];
  }
  for (; n < count; ++n) {
    vectors[n] = Vector<T>{};
    for (int lane = 0; lane < lanes; ++lane) vectors[n][lane] = runs[lane][n];
  }
}

template <typename V>
inline V select(decltype(V{} < V{}) condition, V yes, V no) {
  return condition ? yes : no;
}

template <typename V>
inline V absolute(V x) {
  return select(x < 0, -x, x);
}

// Elementary functions are computed in double, to the precision of T: with as many terms of the
// Taylor series as reach its last bit, of sine and cosine on [-pi/2, pi/2] and of exp on
// [-ln 2 / 2, ln 2 / 2].
template <typename T>
struct Precision;

template <>
struct Precision<float> {
  static constexpr int kTerms = 7, kExponentialTerms = 8;
};

template <>
struct Precision<double> {
  static constexpr int kTerms = 12, kExponentialTerms = 14;
};

// Taylor coefficients, made by the compiler.
struct Series {
  static constexpr int kLongest = 26;
  double sine[kLongest / 2] = {}, cosine[kLongest / 2] = {}, exponential[kLongest] = {};

  constexpr Series() {
    double inverse_factorial = 1;
    for (int n = 0; n < kLongest; ++n) {
      inverse_factorial /= n == 0 ? 1 : n;
      const double signed_term = n / 2 % 2 == 0 ? inverse_factorial : -inverse_factorial;
      (n % 2 == 1 ? sine : cosine)[n / 2] = signed_term;
      exponential[n] = inverse_factorial;
    }
  }
};

constexpr Series kSeries;

// Added to a number below 2^51, it leaves the nearest integer in the low bits of the sum.
constexpr double kRound = 6755399441055744.0;  // 1.5 * 2^52

inline Wide nearest_integer(Wide x) { return (x + kRound) - kRound; }

// Numbers too large to have a fraction become 0; NaN stays.
inline Wide bounded(Wide x) { return select(absolute(x) >= kRound / 4, Wide{}, x); }

template <typename T>
struct SineCosine {
  Doubled<T> sine, cosine;
};

// Of an angle of at most half a turn either way, through half of it.
template <typename T>
inline void sine_cosine_of_fraction(Wide turns, Wide& sine, Wide& cosine) {
  constexpr int terms = Precision<T>::kTerms;
  const Wide half = turns * kPi, square = half * half;
  Wide odd{}, even = Wide{} + kSeries.cosine[terms];
#pragma GCC unroll 16
  for (int n = terms - 1; n >= 0; --n) {
    odd = odd * square + kSeries.sine[n];
    even = even * square + kSeries.cosine[n];
  }
  odd = odd * half;
  const Wide twice = odd + odd;
  sine = twice * even;
  cosine = 1 - twice * odd;
}

// Of angles in turns, bounded ones.
template <typename T>
inline SineCosine<T> sine_cosine_of_turns(const Doubled<T>& turns) {
  SineCosine<T> result;
#pragma GCC unroll 4
  for (int n = 0; n < Doubled<T>::kParts; ++n) {
    const Wide fraction = turns.part[n] - nearest_integer(turns.part[n]);
    sine_cosine_of_fraction<T>(fraction, result.sine.part[n], result.cosine.part[n]);
  }
  return result;
}

// Of angles in radians; finite for every finite angle.
template <typename T>
inline SineCosine<T> sine_cosine(const Doubled<T>& radians) {
  constexpr double high = 0.15915494309189534561, low = -9.8393383375912434770e-18;  // 1 / (2 pi)
  SineCosine<T> result;
#pragma GCC unroll 4
  for (int n = 0; n < Doubled<T>::kParts; ++n) {
    const Wide angle = bounded(radians.part[n]);
    const Wide fraction = angle * high - nearest_integer(angle * high) + angle * low;
    sine_cosine_of_fraction<T>(fraction, result.sine.part[n], result.cosine.part[n]);
  }
  return result;
}

// exp(x) for x <= 0.
template <typename T>
inline Wide exponential(Wide x) {
  constexpr double log_two_high = 0.693147180369123816490, log_two_low = 1.90821492927058770002e-10;
  const auto underflow = x < -708;
  const Wide within = select(underflow, Wide{}, x);
  const Wide shifted = within * 1.44269504088896340736 + kRound, power = shifted - kRound;
  const Wide rest = within - power * log_two_high - power * log_two_low;
  Wide series{};
#pragma GCC unroll 16
  for (int n = Precision<T>::kExponentialTerms; n >= 0; --n)
    series = series * rest + kSeries.exponential[n];
  const Wide scale = (Wide)(((IntegerVector<double>)shifted << 52) + 0x3ff0000000000000);
  return select(underflow, Wide{}, series * scale);
}

}  // namespace gabor
