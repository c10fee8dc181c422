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

// A vector in parts that fit a vector of doubles, for the few steps float is too short for.
template <typename T>
constexpr int kParts = kLanes<T> / kLanes<double>;

template <typename T>
struct PartOf {
  typedef T Type __attribute__((vector_size(kLanes<double> * sizeof(T))));
};

template <typename T>
inline Vector<double> widen(const Vector<T>& value, int part) {
  typename PartOf<T>::Type piece;
  std::memcpy(&piece, reinterpret_cast<const char*>(&value) + part * sizeof piece, sizeof piece);
  return __builtin_convertvector(piece, Vector<double>);
}

template <typename T>
inline void narrow(const Vector<double>& wide, int part, Vector<T>& value) {
  const auto piece = __builtin_convertvector(wide, typename PartOf<T>::Type);
  std::memcpy(reinterpret_cast<char*>(&value) + part * sizeof piece, &piece, sizeof piece);
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

// Constants of one precision: adding kRound to a small number leaves its nearest integer in the
// low bits of the sum; the pairs are high and low parts of pi / 2 and ln 2; kTerms is how many
// terms of the Taylor series reach the last bit on [-pi/4, pi/4] and [-ln 2 / 2, ln 2 / 2].
template <typename T>
struct Precision;

template <>
struct Precision<float> {
  static constexpr float kRound = 12582912.0f;  // 1.5 * 2^23
  static constexpr int kMantissaBits = 23;
  static constexpr int32_t kOneBits = 0x3f800000;
  static constexpr float kHalfPiHigh = 1.57079637050628662109375f;
  static constexpr float kHalfPiLow = -4.37113900018624283e-8f;
  static constexpr float kLogTwoHigh = 0.693145751953125f;
  static constexpr float kLogTwoLow = 1.42860682030941723e-6f;
  static constexpr float kLargest = 4194304.0f;     // 2^22: beyond it no fraction is left
  static constexpr float kLowestExponent = -87.0f;  // exp underflows
  static constexpr int kTerms = 5, kExponentialTerms = 7;
};

template <>
struct Precision<double> {
  static constexpr double kRound = 6755399441055744.0;  // 1.5 * 2^52
  static constexpr int kMantissaBits = 52;
  static constexpr int64_t kOneBits = 0x3ff0000000000000;
  static constexpr double kHalfPiHigh = 1.57079632679489655800;
  static constexpr double kHalfPiLow = 6.12323399573676603587e-17;
  static constexpr double kLogTwoHigh = 0.693147180369123816490;
  static constexpr double kLogTwoLow = 1.90821492927058770002e-10;
  static constexpr double kLargest = 2251799813685248.0;
  static constexpr double kLowestExponent = -708.0;
  static constexpr int kTerms = 9, kExponentialTerms = 14;
};

// Taylor coefficients, made by the compiler.
template <typename T>
struct Series {
  T sine[Precision<T>::kTerms] = {}, cosine[Precision<T>::kTerms + 1] = {};
  T exponential[Precision<T>::kExponentialTerms + 1] = {};

  constexpr Series() {
    double inverse_factorial = 1;
    for (int n = 0; n < 24; ++n) {
      inverse_factorial /= n == 0 ? 1 : n;
      const double signed_term = n / 2 % 2 == 0 ? inverse_factorial : -inverse_factorial;
      if (n % 2 == 1 && n / 2 < Precision<T>::kTerms) sine[n / 2] = T(signed_term);
      if (n % 2 == 0 && n / 2 <= Precision<T>::kTerms) cosine[n / 2] = T(signed_term);
      if (n <= Precision<T>::kExponentialTerms) exponential[n] = T(inverse_factorial);
    }
  }
};

template <typename T>
constexpr Series<T> kSeries;

// sin and cos of quarter * pi / 2 + angle for an integer quarter and |angle| <= pi / 4.
template <typename T>
inline void sine_cosine_of_quarter(IntegerVector<T> quarter, Vector<T> angle, Vector<T>& sine,
                                   Vector<T>& cosine) {
  constexpr int terms = Precision<T>::kTerms;
  const Vector<T> square = angle * angle;
  Vector<T> odd{}, even = Vector<T>{} + kSeries<T>.cosine[terms];
#pragma GCC unroll 16
  for (int n = terms - 1; n >= 0; --n) {
    odd = odd * square + kSeries<T>.sine[n];
    even = even * square + kSeries<T>.cosine[n];
  }
  odd = odd * angle;
  const auto swapped = (quarter & 1) != 0;
  const Vector<T> s = select(swapped, even, odd), c = select(swapped, odd, even);
  sine = select((quarter & 2) != 0, -s, s);
  cosine = select(((quarter + 1) & 2) != 0, -c, c);
}

// sin and cos of an angle in turns, at most half a turn either way.
template <typename T>
inline void sine_cosine_of_turns(Vector<T> turns, Vector<T>& sine, Vector<T>& cosine) {
  using P = Precision<T>;
  const Vector<T> shifted = turns * T(4) + P::kRound;
  const Vector<T> fraction = turns - (shifted - P::kRound) * T(0.25);
  sine_cosine_of_quarter<T>((IntegerVector<T>)shifted, fraction * T(6.283185307179586477), sine,
                            cosine);
}

// The whole turns taken off.
template <typename T>
inline Vector<T> fraction_of_turns(Vector<T> turns) {
  using P = Precision<T>;
  const Vector<T> bounded = select(absolute(turns) < P::kLargest, turns, Vector<T>{});
  return bounded - ((bounded + P::kRound) - P::kRound);
}

// sin and cos of an angle in radians; finite for every finite angle.
template <typename T>
inline void sine_cosine(Vector<T> angle, Vector<T>& sine, Vector<T>& cosine) {
  using P = Precision<T>;
  const Vector<T> bounded = select(absolute(angle) < P::kLargest, angle, Vector<T>{});
  const Vector<T> shifted = bounded * T(0.63661977236758134308) + P::kRound;
  const Vector<T> quarter = shifted - P::kRound;
  const Vector<T> rest = bounded - quarter * P::kHalfPiHigh - quarter * P::kHalfPiLow;
  sine_cosine_of_quarter<T>((IntegerVector<T>)shifted, rest, sine, cosine);
}

// exp(x) for x <= 0.
template <typename T>
inline Vector<T> exponential(Vector<T> x) {
  using P = Precision<T>;
  const auto underflow = x < P::kLowestExponent;
  const Vector<T> bounded = select(underflow, Vector<T>{}, x);
  const Vector<T> shifted = bounded * T(1.44269504088896340736) + P::kRound;
  const Vector<T> power = shifted - P::kRound;
  const Vector<T> rest = bounded - power * P::kLogTwoHigh - power * P::kLogTwoLow;
  Vector<T> series{};
#pragma GCC unroll 16
  for (int n = P::kExponentialTerms; n >= 0; --n)
    series = series * rest + kSeries<T>.exponential[n];
  const Vector<T> scale =
      (Vector<T>)(((IntegerVector<T>)shifted << P::kMantissaBits) + P::kOneBits);
  return select(underflow, Vector<T>{}, series * scale);
}

}  // namespace gabor
