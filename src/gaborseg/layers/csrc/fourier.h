// Discrete Fourier transforms of small volumes as rectangular real products, channels in lanes.
//
// Voxels and frequencies are both counted from the centre, so positions come in pairs +-u and +-k:
// folding a line into its even and odd parts leaves one cosine and one sine product of a quarter
// the size, which serve the frequencies k and -k together. A shift of the origin changes the phase
// of the spectrum only, and cancels between the transform and its inverse.
#pragma once

#include <algorithm>
#include <cmath>

#include "lanes.h"

namespace gabor {

// The product of one axis: folded input positions to folded output positions, period points.
//
// For a line z(+-u): even = z(u) + z(-u), odd = z(u) - z(-u), and
//   A(v) = sum_u cos(2 pi u v / period) even(u),   B(v) = sum_u sin(2 pi u v / period) odd(u)
// give the transform at +v and -v as A - iB and A + iB (the inverse: A + iB and A - iB).
template <typename T>
class FoldedAxis {
 public:
  using V = Vector<T>;
  static constexpr int kRows = 2;  // output positions a product makes at a time

  FoldedAxis(int64_t inputs, int64_t outputs, int64_t period)
      : inputs_(inputs),
        outputs_(outputs),
        in_((inputs + 1) / 2),
        out_((outputs + 1) / 2),
        matrix_(2 * in_ * (out_ + kRows)) {
    for (int64_t l = 0; l < out_ + kRows; ++l) {
      for (int64_t j = 0; j < in_; ++j) {
        // Twice u times twice v is an integer: reduce it exactly before the division.
        const int64_t product = (inputs - 1 - 2 * j) * (outputs - 1 - 2 * l) % (4 * period);
        const double angle = 2 * kPi * static_cast<double>(product) / (4.0 * period);
        matrix_[2 * (l * in_ + j)] = static_cast<T>(std::cos(angle));
        matrix_[2 * (l * in_ + j) + 1] = static_cast<T>(std::sin(angle));
      }
    }
  }

  int64_t inputs() const { return inputs_; }
  int64_t outputs() const { return outputs_; }
  int64_t in() const { return in_; }
  int64_t out() const { return out_; }

  // Folds two lines; line(position, n) reads line n. folded: [in][even 0, even 1, odd 0, odd 1].
  template <typename Line>
  void fold(V* folded, Line line) const {
    for (int64_t j = 0; j < inputs_ / 2; ++j) {
      for (int n = 0; n < 2; ++n) {
        const V above = line(inputs_ - 1 - j, n), below = line(j, n);
        folded[4 * j + n] = above + below;
        folded[4 * j + 2 + n] = above - below;
      }
    }
    if (inputs_ % 2 == 1) {
      for (int n = 0; n < 2; ++n) {
        folded[4 * (in_ - 1) + n] = line(in_ - 1, n);
        folded[4 * (in_ - 1) + 2 + n] = V{};
      }
    }
  }

  // Calls unfold(l, A, B) for every folded output position l = 0 (outermost) ... out - 1 (centre).
  template <typename Unfold>
  void multiply(const V* folded, Unfold unfold) const {
    for (int64_t l = 0; l < out_; l += kRows) {
      V a[kRows][2] = {}, b[kRows][2] = {};
      const T* m = matrix_ + 2 * l * in_;
      for (int64_t j = 0; j < in_; ++j) {
        const V e0 = folded[4 * j], e1 = folded[4 * j + 1];
        const V o0 = folded[4 * j + 2], o1 = folded[4 * j + 3];
#pragma GCC unroll 2
        for (int row = 0; row < kRows; ++row) {
          const V c = V{} + m[2 * (row * in_ + j)], s = V{} + m[2 * (row * in_ + j) + 1];
          a[row][0] += c * e0;
          a[row][1] += c * e1;
          b[row][0] += s * o0;
          b[row][1] += s * o1;
        }
      }
      for (int row = 0; row < kRows && l + row < out_; ++row) unfold(l + row, a[row], b[row]);
    }
  }

 private:
  int64_t inputs_, outputs_, in_, out_;
  Buffer<T> matrix_;  // [out][in][cosine, sine], and kRows spare rows so that blocks may overrun
};

// Transforms complex lines along the middle axis: [outer, inputs, columns, 2] -> [outer, outputs,
// columns, 2].
template <typename T, bool kInverse>
void transform_complex(const FoldedAxis<T>& axis, int64_t outer, int64_t columns,
                       const Vector<T>* input, Vector<T>* output) {
  using V = Vector<T>;
  Buffer<V> folded(4 * axis.in());
  const int64_t last = axis.outputs() - 1;
  for (int64_t n = 0; n < outer; ++n) {
    const V* from = input + n * axis.inputs() * columns * 2;
    V* to = output + n * axis.outputs() * columns * 2;
    for (int64_t column = 0; column < columns; ++column) {
      axis.fold(folded,
                [&](int64_t u, int part) { return from[(u * columns + column) * 2 + part]; });
      axis.multiply(folded, [&](int64_t l, const V* a, const V* b) {
        V* negative = to + (l * columns + column) * 2;
        V* positive = to + ((last - l) * columns + column) * 2;
        const V plus[2] = {a[0] + b[1], a[1] - b[0]};   // A - iB
        const V minus[2] = {a[0] - b[1], a[1] + b[0]};  // A + iB
        negative[0] = kInverse ? plus[0] : minus[0];
        negative[1] = kInverse ? plus[1] : minus[1];
        positive[0] = kInverse ? minus[0] : plus[0];
        positive[1] = kInverse ? minus[1] : plus[1];
      });
    }
  }
}

// The extents of a volume and of its spectrum.
//
// A tap farther than the volume is long never meets a voxel, so the radius is cut to size - 1. The
// period size + radius leaves room for what wraps around; it is made odd, which spares the Nyquist
// frequency. Axis 2 keeps the frequencies 0 ... half only: the input is real.
struct Geometry {
  int64_t size[3], period[3], half[3];
  int radius[3];

  Geometry(const int64_t* extents, int64_t kernel_size) {
    for (int axis = 0; axis < 3; ++axis) {
      size[axis] = extents[axis];
      radius[axis] = static_cast<int>(std::min((kernel_size - 1) / 2, size[axis] - 1));
      period[axis] = (size[axis] + radius[axis]) | 1;
      half[axis] = (period[axis] - 1) / 2;
    }
  }

  int64_t voxels() const { return size[0] * size[1] * size[2]; }
  int64_t rows() const { return period[0] * period[1]; }  // lines of frequencies along axis 2
  int64_t centre() const { return (rows() - 1) / 2; }     // the row (0, 0)
  int64_t line() const { return half[2] + 1; }
  int64_t frequencies() const { return rows() * line(); }
};

// Whole-volume transforms of one vector of channels.
//
// A volume is [D, H, W] vectors; a spectrum [rows, line, 2] vectors (real, imaginary) with the rows
// (k0, k1) in ascending order, so that the row of (-k0, -k1) is the mirror image of that of (k0,
// k1).
template <typename T>
class Fourier {
 public:
  using V = Vector<T>;

  explicit Fourier(const Geometry& geometry)
      : g_(geometry),
        forward_{{g_.size[0], g_.period[0], g_.period[0]},
                 {g_.size[1], g_.period[1], g_.period[1]},
                 {g_.size[2], g_.period[2], g_.period[2]}},
        inverse_{{g_.period[0], g_.size[0], g_.period[0]},
                 {g_.period[1], g_.size[1], g_.period[1]},
                 {g_.period[2], g_.size[2], g_.period[2]}} {}

  int64_t scratch() const {
    return std::max(g_.size[0] * g_.size[1], g_.size[0] * g_.period[1]) * g_.line() * 2;
  }

  // first and second are scratch() vectors each.
  void forward(const V* volume, V* first, V* second, V* spectrum) const {
    real_to_half(volume, first);
    transform_complex<T, false>(forward_[1], g_.size[0], g_.line(), first, second);
    transform_complex<T, false>(forward_[0], 1, g_.period[1] * g_.line(), second, spectrum);
  }

  void inverse(const V* spectrum, V* first, V* second, V* volume) const {
    transform_complex<T, true>(inverse_[0], 1, g_.period[1] * g_.line(), spectrum, second);
    transform_complex<T, true>(inverse_[1], g_.size[0], g_.line(), second, first);
    half_to_real(first, volume);
  }

 private:
  // Real lines two at a time, [lines, W] -> [lines, line, 2].
  void real_to_half(const V* volume, V* half) const {
    const FoldedAxis<T>& axis = forward_[2];
    const int64_t lines = g_.size[0] * g_.size[1], width = g_.size[2], line = g_.line();
    Buffer<V> folded(4 * axis.in());
    for (int64_t n = 0; n < lines; n += 2) {
      const int64_t pair[2] = {n, std::min(n + 1, lines - 1)};
      axis.fold(folded, [&](int64_t u, int which) { return volume[pair[which] * width + u]; });
      axis.multiply(folded, [&](int64_t l, const V* a, const V* b) {
        for (int which = 0; which < 2; ++which) {
          V* to = half + (pair[which] * line + g_.half[2] - l) * 2;
          to[0] = a[which];
          to[1] = -b[which];
        }
      });
    }
  }

  // The inverse: even and odd parts of a hermitian line are its real and imaginary parts, doubled.
  void half_to_real(const V* half, V* volume) const {
    const FoldedAxis<T>& axis = inverse_[2];
    const int64_t lines = g_.size[0] * g_.size[1], width = g_.size[2], line = g_.line();
    const T scale = T(1.0 / static_cast<double>(g_.period[0] * g_.period[1] * g_.period[2]));
    Buffer<V> folded(4 * axis.in());
    for (int64_t n = 0; n < lines; n += 2) {
      const int64_t pair[2] = {n, std::min(n + 1, lines - 1)};
      for (int64_t k = 0; k < line; ++k) {
        const T weight = k == 0 ? scale : 2 * scale;
        for (int which = 0; which < 2; ++which) {
          const V* from = half + (pair[which] * line + k) * 2;
          folded[4 * (g_.half[2] - k) + which] = from[0] * weight;
          folded[4 * (g_.half[2] - k) + 2 + which] = from[1] * weight;
        }
      }
      axis.multiply(folded, [&](int64_t l, const V* a, const V* b) {
        for (int which = 0; which < 2; ++which) {
          V* to = volume + pair[which] * width;
          to[l] = a[which] + b[which];
          to[width - 1 - l] = a[which] - b[which];
        }
      });
    }
  }

  Geometry g_;
  FoldedAxis<T> forward_[3], inverse_[3];
};

}  // namespace gabor
