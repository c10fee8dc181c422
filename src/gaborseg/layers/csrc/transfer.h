// The spectrum of a Gabor kernel, one line of frequencies at a time, used where it is made.
//
// The taps are symmetric, so each 1-D factor H_a(k) = E_a(k) + O_a(k) is real, with
//   E_a(k) = 1 + 2 sum_x C_a(x) cos(2 pi k x / N_a)      even in k,
//   O_a(k) =   - 2 sum_x S_a(x) sin(2 pi k x / N_a)      odd in k.
// For a row (k0, k1) and both waves let (p and m of the cosine wave, q and n of the sine wave)
//   p = E_0 E_1 + O_0 O_1,  m = E_0 O_1 + O_0 E_1.
// Then the transfer function is T(k) = R + iI on the row, and on the mirrored row (-k0, -k1)
//   T(k) = (Re + Ro) + i (Ie + Io),   T'(k) = (Re - Ro) + i (Io - Ie),
//   Re = p alpha E + q beta E',   Ro = m alpha O + n beta O',
//   Ie = m gamma E + n delta E',  Io = p gamma O + q delta O',
// where E, O are those of axis 2. The eight products alpha E ... delta O' are tabled once a pair.
#pragma once

#include "fourier.h"
#include "pair.h"

namespace gabor {

// Cosines and sines that take taps to frequencies: [k = 0 ... half][x = 1 ... radius][2].
template <typename T>
class TapWaves {
 public:
  TapWaves(int64_t half, int radius, int64_t period)
      : radius_(radius), table_(2 * (half + 1) * radius) {
    for (int64_t k = 0; k <= half; ++k) {
      for (int x = 1; x <= radius; ++x) {
        const double angle = 2 * kPi * static_cast<double>(k * x % period) / period;
        table_[2 * (k * radius + x - 1)] = static_cast<T>(2 * std::cos(angle));
        table_[2 * (k * radius + x - 1) + 1] = static_cast<T>(-2 * std::sin(angle));
      }
    }
  }

  T cosine(int64_t k, int x) const { return table_[2 * (k * radius_ + x - 1)]; }
  T sine(int64_t k, int x) const { return table_[2 * (k * radius_ + x - 1) + 1]; }

 private:
  int radius_;
  Buffer<T> table_;
};

template <typename T>
struct SpectralPlan {
  Geometry geometry;
  Fourier<T> fourier;
  TapWaves<T> waves[3];

  explicit SpectralPlan(const Geometry& g)
      : geometry(g),
        fourier(g),
        waves{{g.half[0], g.radius[0], g.period[0]},
              {g.half[1], g.radius[1], g.period[1]},
              {g.half[2], g.radius[2], g.period[2]}} {}
};

// The pair (k0, k1) of a row; rows are counted from the central one, (0, 0).
struct Frequencies {
  int64_t first, second, half;

  Frequencies(const Geometry& g, int64_t row)
      : first((row + g.half[1]) / g.period[1]),
        second((row + g.half[1]) % g.period[1] - g.half[1]),
        half(g.half[1]) {}

  void advance() {
    if (++second > half) {
      second = -half;
      ++first;
    }
  }
};

// One row's factors of both waves.
template <typename T>
struct Row {
  Vector<T> p, m, q, n;
};

// The factored spectrum of one input channel with one vector of output channels, or its gradient.
template <typename T>
class Transfer {
 public:
  using V = Vector<T>;
  static constexpr int kTable = 8;
  enum Entry { kAlphaE, kBetaE, kGammaE, kDeltaE, kAlphaO, kBetaO, kGammaO, kDeltaO };

  explicit Transfer(const SpectralPlan<T>& plan)
      : plan_(plan),
        g_(plan.geometry),
        first_(2 * kWaves * (g_.half[0] + 1)),
        second_(2 * kWaves * g_.period[1]),
        table_(kTable * g_.line()) {}

  // Fills the factors from taps.
  void build(const Taps<T>& taps) {
    for (int wave = 0; wave < kWaves; ++wave) {
      for (int64_t k = 0; k <= g_.half[0]; ++k) factor(taps, wave, 0, k, first(k, wave));
      for (int64_t k = 0; k <= g_.half[1]; ++k) {
        V* above = second(k, wave);
        V* below = second(-k, wave);
        factor(taps, wave, 1, k, above);
        const V even = above[0], odd = above[1];
        below[0] = even;
        below[1] = k == 0 ? odd : -odd;
      }
    }
    for (int64_t k = 0; k < g_.line(); ++k) {
      V re[2], im[2];
      factor(taps, 0, 2, k, re);
      factor(taps, 1, 2, k, im);
      V* t = table(k);
      for (int odd = 0; odd < 2; ++odd) {
        t[4 * odd + kAlphaE] = taps.alpha * re[odd];
        t[4 * odd + kBetaE] = taps.beta * im[odd];
        t[4 * odd + kGammaE] = taps.gamma * re[odd];
        t[4 * odd + kDeltaE] = taps.delta * im[odd];
      }
    }
  }

  void clear() {
    std::fill_n(static_cast<V*>(first_), 2 * kWaves * (g_.half[0] + 1), V{});
    std::fill_n(static_cast<V*>(second_), 2 * kWaves * g_.period[1], V{});
    std::fill_n(static_cast<V*>(table_), kTable * g_.line(), V{});
  }

  // The gradient of the taps, with this the gradient of the factors that were built from them.
  Taps<T> backward(const Taps<T>& taps) {
    Taps<T> grad = {};
    for (int wave = 0; wave < kWaves; ++wave) {
      for (int64_t k = 0; k <= g_.half[0]; ++k) spread(first(k, wave), wave, 0, k, grad);
      for (int64_t k = 0; k <= g_.half[1]; ++k) {
        V sum[2] = {second(k, wave)[0], second(k, wave)[1]};
        if (k > 0) {
          sum[0] += second(-k, wave)[0];
          sum[1] -= second(-k, wave)[1];
        }
        spread(sum, wave, 1, k, grad);
      }
    }
    for (int64_t k = 0; k < g_.line(); ++k) {
      V re[2], im[2], re_grad[2], im_grad[2];
      factor(taps, 0, 2, k, re);
      factor(taps, 1, 2, k, im);
      const V* t = table(k);
      for (int odd = 0; odd < 2; ++odd) {
        const V da = t[4 * odd + kAlphaE], db = t[4 * odd + kBetaE];
        const V dc = t[4 * odd + kGammaE], dd = t[4 * odd + kDeltaE];
        grad.alpha += da * re[odd];
        grad.beta += db * im[odd];
        grad.gamma += dc * re[odd];
        grad.delta += dd * im[odd];
        re_grad[odd] = da * taps.alpha + dc * taps.gamma;
        im_grad[odd] = db * taps.beta + dd * taps.delta;
      }
      spread(re_grad, 0, 2, k, grad);
      spread(im_grad, 1, 2, k, grad);
    }
    return grad;
  }

  // Even and odd factor (of the gradient) at one frequency of axis 0, k0 >= 0, or 1.
  V* first(int64_t k, int wave) { return first_ + 2 * (kWaves * k + wave); }
  V* second(int64_t k, int wave) { return second_ + 2 * (kWaves * (k + g_.half[1]) + wave); }
  V* table(int64_t k) { return table_ + kTable * k; }

  Row<T> row(const Frequencies& k) {
    const V* a = first(k.first, 0);
    const V* b = second(k.second, 0);
    return {a[0] * b[0] + a[1] * b[1], a[0] * b[1] + a[1] * b[0], a[2] * b[2] + a[3] * b[3],
            a[2] * b[3] + a[3] * b[2]};
  }

  // Adds the gradient of a row's factors; values are the factors themselves.
  void add_row(const Frequencies& k, const Row<T>& grad, Transfer& values) {
    const V* a = values.first(k.first, 0);
    const V* b = values.second(k.second, 0);
    V* da = first(k.first, 0);
    V* db = second(k.second, 0);
    da[0] += grad.p * b[0] + grad.m * b[1];
    da[1] += grad.p * b[1] + grad.m * b[0];
    da[2] += grad.q * b[2] + grad.n * b[3];
    da[3] += grad.q * b[3] + grad.n * b[2];
    db[0] += grad.p * a[0] + grad.m * a[1];
    db[1] += grad.p * a[1] + grad.m * a[0];
    db[2] += grad.q * a[2] + grad.n * a[3];
    db[3] += grad.q * a[3] + grad.n * a[2];
  }

 private:
  void factor(const Taps<T>& taps, int wave, int axis, int64_t k, V* factor) const {
    V even = V{} + T(1), odd{};
    for (int x = 1; x <= g_.radius[axis]; ++x) {
      even += taps.cosine[wave][axis][x] * plan_.waves[axis].cosine(k, x);
      odd += taps.sine[wave][axis][x] * plan_.waves[axis].sine(k, x);
    }
    factor[0] = even;
    factor[1] = odd;
  }

  void spread(const V* factor_grad, int wave, int axis, int64_t k, Taps<T>& grad) const {
    for (int x = 1; x <= g_.radius[axis]; ++x) {
      grad.cosine[wave][axis][x] += factor_grad[0] * plan_.waves[axis].cosine(k, x);
      grad.sine[wave][axis][x] += factor_grad[1] * plan_.waves[axis].sine(k, x);
    }
  }

  const SpectralPlan<T>& plan_;
  const Geometry& g_;
  Buffer<V> first_, second_, table_;
};

}  // namespace gabor
