// Sums of softmax scores and labels over space, and their gradient, called through ctypes.
//
// A volume is taken in blocks of voxels whose scores fit the cache: each way the logits are read
// once, and nothing but the result is written. Sums are in double, one set for each chunk of a
// fixed size, added up in order, so that the number of threads changes nothing. The loops over the
// voxels of a block are plain, and left to the compiler to vectorise.
#include <ATen/Parallel.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <new>
#include <vector>

// All else is hidden, and so inlined at will.
#define EXPORT extern "C" __attribute__((visibility("default")))

namespace {

constexpr int64_t kBlock = 256;
constexpr int64_t kChunk = 16 * kBlock;

// The sums of each sample and label, as they are laid out: [kSums][samples][labels]. p is a score,
// y is 1 in the label's own voxels.
enum Sum { kP, kPP, kPY, kY, kLog, kSums };
constexpr int kScale = kY;  // in a gradient

// Adding kRound to a small number leaves its nearest integer in the low bits of the sum; ln 2 is in
// two parts; kTerms terms of exp's Taylor series reach the last bit on [-ln 2 / 2, ln 2 / 2].
template <typename T>
struct Precision;

template <>
struct Precision<float> {
  using Bits = uint32_t;
  static constexpr float kRound = 12582912.0f;  // 1.5 * 2^23
  static constexpr float kLowest = -87.0f;      // exp underflows
  static constexpr float kLogTwoHigh = 0.693145751953125f, kLogTwoLow = 1.42860682030941723e-6f;
  static constexpr int kMantissaBits = 23, kTerms = 7;
};

template <>
struct Precision<double> {
  using Bits = uint64_t;
  static constexpr double kRound = 6755399441055744.0;  // 1.5 * 2^52
  static constexpr double kLowest = -708.0;
  static constexpr double kLogTwoHigh = 0.693147180369123816490;
  static constexpr double kLogTwoLow = 1.90821492927058770002e-10;
  static constexpr int kMantissaBits = 52, kTerms = 13;
};

// exp(x) for x <= 0.
template <typename T>
inline T exponential(T x) {
  using P = Precision<T>;
  using Bits = typename P::Bits;
  const T shifted = x * T(1.44269504088896340736) + P::kRound;
  const T power = shifted - P::kRound;
  const T rest = x - power * P::kLogTwoHigh - power * P::kLogTwoLow;
  T series = 1;
#pragma GCC unroll 16
  for (int n = P::kTerms; n > 0; --n) series = series * (rest * T(1.0 / n)) + 1;
  const Bits exponent = std::bit_cast<Bits>(shifted) << P::kMantissaBits;
  const T scale = std::bit_cast<T>(std::bit_cast<Bits>(T(1)) + exponent);
  return x < P::kLowest ? T(0) : series * scale;
}

// A batch of logits, [samples][labels][voxels], and of label maps, [samples][voxels].
template <typename T>
struct Batch {
  int64_t samples, labels, voxels;
  const T* logits;
  const int64_t* target;

  int64_t chunks() const { return (voxels + kChunk - 1) / kChunk; }
};

// Part of one sample: at most kBlock voxels.
template <typename T>
struct Block {
  const T* logits;  // of label 0; those of the next are `stride` further on
  const int64_t* target;
  int64_t stride, voxels, first;  // first is the place of its first score in the whole batch

  // Whether the voxel has one of the labels: what has not is neither counted nor read.
  bool labelled(int64_t voxel, int64_t labels) const {
    return target[voxel] >= 0 && target[voxel] < labels;
  }
};

// Calls work(chunk, block) for the blocks of all chunks, those of one chunk in order on one thread;
// prepare() makes a thread's own work.
template <typename T, typename Prepare>
void each_block(const Batch<T>& batch, Prepare prepare) {
  const int64_t chunks = batch.chunks();
  at::parallel_for(0, batch.samples * chunks, 1, [&](int64_t begin, int64_t end) {
    auto work = prepare();
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      const int64_t sample = chunk / chunks, start = chunk % chunks * kChunk;
      const int64_t stop = std::min(start + kChunk, batch.voxels);
      for (int64_t v = start; v < stop; v += kBlock) {
        const int64_t first = sample * batch.labels * batch.voxels + v;
        work(chunk, Block<T>{batch.logits + first, batch.target + sample * batch.voxels + v,
                             batch.voxels, std::min(kBlock, stop - v), first});
      }
    }
  });
}

// The scores of a block, [labels][kBlock]; past its voxels they are 0.
template <typename T>
class Scores {
 public:
  explicit Scores(int64_t labels) : labels_(labels), scores_(labels * kBlock) {}

  void read(const Block<T>& block) {
    copy(block.logits, block.voxels, peak_);
    for (int64_t c = 0; c < labels_; ++c) {
      T* __restrict x = of(c);
      copy(block.logits + c * block.stride, block.voxels, x);
      for (int64_t v = 0; v < kBlock; ++v) peak_[v] = peak_[v] < x[v] ? x[v] : peak_[v];
    }
    std::fill_n(total_, kBlock, T(0));
    for (int64_t c = 0; c < labels_; ++c) {
      T* __restrict x = of(c);
      for (int64_t v = 0; v < kBlock; ++v) {
        x[v] = exponential(x[v] - peak_[v]);
        total_[v] += x[v];
      }
    }
    T reciprocal[kBlock];
    for (int64_t v = 0; v < kBlock; ++v) reciprocal[v] = T(1) / total_[v];
    std::fill(reciprocal + block.voxels, reciprocal + kBlock, T(0));
    for (int64_t c = 0; c < labels_; ++c) {
      T* __restrict p = of(c);
      for (int64_t v = 0; v < kBlock; ++v) p[v] *= reciprocal[v];
    }
  }

  T* of(int64_t label) { return scores_.data() + label * kBlock; }

  // The largest logit of a voxel, and the sum of exp(logit - largest).
  T peak(int64_t voxel) const { return peak_[voxel]; }
  T total(int64_t voxel) const { return total_[voxel]; }

 private:
  static void copy(const T* from, int64_t voxels, T* to) {
    std::copy_n(from, voxels, to);
    std::fill_n(to + voxels, kBlock - voxels, T(0));
  }

  int64_t labels_;
  std::vector<T> scores_;
  T peak_[kBlock], total_[kBlock];
};

// Adds the sums of a block; sums: [kSums][labels].
template <typename T>
class AddSums {
 public:
  explicit AddSums(int64_t labels) : labels_(labels), scores_(labels), totals_(labels) {}

  void operator()(const Block<T>& block, double* sums) {
    scores_.read(block);
    for (int64_t c = 0; c < labels_; ++c) {
      const T* p = scores_.of(c);
      double sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum, squares)
      for (int64_t v = 0; v < kBlock; ++v) {
        const double wide = p[v];
        sum += wide;
        squares += wide * wide;
      }
      sums[kP * labels_ + c] += sum;
      sums[kPP * labels_ + c] += squares;
    }
    add_own(block, sums);
  }

 private:
  // A product of denominators has the sum of their logarithms: one logarithm serves many voxels.
  void add_own(const Block<T>& block, double* sums) {
    std::fill(totals_.begin(), totals_.end(), 1.0);
    for (int64_t v = 0; v < block.voxels; ++v) {
      if (!block.labelled(v, labels_)) continue;
      const int64_t own = block.target[v];
      sums[kPY * labels_ + own] += scores_.of(own)[v];
      sums[kY * labels_ + own] += 1;
      sums[kLog * labels_ + own] += block.logits[own * block.stride + v] - scores_.peak(v);
      totals_[own] *= scores_.total(v);
      if (totals_[own] > 1e100) take_logarithm(own, sums);
    }
    for (int64_t c = 0; c < labels_; ++c) take_logarithm(c, sums);
  }

  void take_logarithm(int64_t label, double* sums) {
    sums[kLog * labels_ + label] -= std::log(totals_[label]);
    totals_[label] = 1;
  }

  int64_t labels_;
  Scores<T> scores_;
  std::vector<double> totals_;
};

// Writes the gradient of a block's logits, that of the sums given: [kSums][labels] of its sample.
//
// p has the gradient w(p) = dP + 2 dPP p, plus dPY where y is 1; softmax makes that p (w - sum p w).
// They come scaled, for a label with tiny scores has a huge gradient: by q = k p instead of p, with
// k where that of the sum of y would be, which there is none of. k is a power of 2, and mostly 1.
template <typename T>
class WriteGradient {
 public:
  explicit WriteGradient(int64_t labels) : labels_(labels), scores_(labels) {}

  void operator()(const Block<T>& block, const T* sums_grad, T* grad) {
    scores_.read(block);
    T shared[kBlock] = {};
    for (int64_t c = 0; c < labels_; ++c) {
      const T* p = scores_.of(c);
      const T constant = sums_grad[kP * labels_ + c], slope = 2 * sums_grad[kPP * labels_ + c];
      const T scale = sums_grad[kScale * labels_ + c];
      for (int64_t v = 0; v < kBlock; ++v) {
        const T q = scale * p[v];
        shared[v] += q * (constant + slope * q);
      }
    }
    T own_grad[kBlock] = {};
    for (int64_t v = 0; v < block.voxels; ++v) {
      if (!block.labelled(v, labels_)) continue;
      const int64_t own = block.target[v];
      const T log_grad = sums_grad[kLog * labels_ + own];
      const T scale = sums_grad[kScale * labels_ + own];
      const T hit = scale * scores_.of(own)[v] * sums_grad[kPY * labels_ + own];
      own_grad[v] = hit + log_grad;
      shared[v] += own_grad[v];
    }
    for (int64_t c = 0; c < labels_; ++c) {
      T* __restrict p = scores_.of(c);
      const T constant = sums_grad[kP * labels_ + c], slope = 2 * sums_grad[kPP * labels_ + c];
      const T scale = sums_grad[kScale * labels_ + c], inverse = 1 / scale;
      for (int64_t v = 0; v < kBlock; ++v) {
        const T q = scale * p[v];
        p[v] = q * (constant + slope * q - shared[v] * inverse);
      }
    }
    for (int64_t v = 0; v < block.voxels; ++v) {
      if (block.labelled(v, labels_)) scores_.of(block.target[v])[v] += own_grad[v];
    }
    for (int64_t c = 0; c < labels_; ++c) {
      std::copy_n(scores_.of(c), block.voxels, grad + c * block.stride);
    }
  }

 private:
  int64_t labels_;
  Scores<T> scores_;
};

template <typename T>
void forward(const Batch<T>& batch, double* sums) {
  const int64_t size = kSums * batch.labels, chunks = batch.chunks();
  std::vector<double> parts(batch.samples * chunks * size);
  each_block(batch, [&] {
    return [&, add = AddSums<T>(batch.labels)](int64_t chunk, const Block<T>& block) mutable {
      add(block, parts.data() + chunk * size);
    };
  });
  for (int64_t chunk = 0; chunk < batch.samples * chunks; ++chunk) {
    for (int64_t kind = 0; kind < kSums; ++kind) {
      double* to = sums + (kind * batch.samples + chunk / chunks) * batch.labels;
      const double* from = parts.data() + chunk * size + kind * batch.labels;
      for (int64_t c = 0; c < batch.labels; ++c) to[c] += from[c];
    }
  }
}

template <typename T>
void backward(const Batch<T>& batch, const double* sums_grad, T* grad) {
  const int64_t size = kSums * batch.labels, chunks = batch.chunks();
  std::vector<T> grads(batch.samples * size);  // [samples][kSums][labels]
  for (int64_t kind = 0; kind < kSums; ++kind) {
    for (int64_t sample = 0; sample < batch.samples; ++sample) {
      std::copy_n(sums_grad + (kind * batch.samples + sample) * batch.labels, batch.labels,
                  grads.data() + sample * size + kind * batch.labels);
    }
  }
  each_block(batch, [&] {
    return [&, write = WriteGradient<T>(batch.labels)](int64_t chunk,
                                                       const Block<T>& block) mutable {
      write(block, grads.data() + chunk / chunks * size, grad + block.first);
    };
  });
}

template <typename Work>
int guarded(Work work) {
  try {
    work();
    return 0;
  } catch (const std::bad_alloc&) {
    return 1;
  }
}

// shape: samples, labels, voxels.
template <typename T>
Batch<T> batch(const int64_t* shape, const T* logits, const int64_t* target) {
  return {shape[0], shape[1], shape[2], logits, target};
}

}  // namespace

// Each returns 0, or 1 when memory ran out; sums start at 0.
EXPORT int label_sums_float(const int64_t* shape, const float* logits, const int64_t* target,
                            double* sums) {
  return guarded([&] { forward(batch(shape, logits, target), sums); });
}

EXPORT int label_sums_double(const int64_t* shape, const double* logits, const int64_t* target,
                             double* sums) {
  return guarded([&] { forward(batch(shape, logits, target), sums); });
}

EXPORT int label_sums_backward_float(const int64_t* shape, const float* logits,
                                     const int64_t* target, const double* sums_grad, float* grad) {
  return guarded([&] { backward(batch(shape, logits, target), sums_grad, grad); });
}

EXPORT int label_sums_backward_double(const int64_t* shape, const double* logits,
                                      const int64_t* target, const double* sums_grad,
                                      double* grad) {
  return guarded([&] { backward(batch(shape, logits, target), sums_grad, grad); });
}
