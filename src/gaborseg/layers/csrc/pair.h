// From the eight parameters of a (c_in, c_out) pair to separable taps, and back.
//
// With r the first row of the rotation, phi_a = 2 pi f r_a and w(x) = exp(-x^2 / (2 sigma^2)),
//
//   G(x) = prod_a w(x_a) (A_re cos(sum_a phi_a x_a + psi) + A_im sin(sum_a phi'_a x_a + psi)),
//
// where phi belongs to f_re and phi' to f_im. Everything that follows is built from the taps
// C_a(x) = w(x) cos(phi_a x), S_a(x) = w(x) sin(phi_a x), x = 1 ... radius, of both waves and from
//
//   alpha = A_re cos psi,  gamma = A_re sin psi,  beta = A_im sin psi,  delta = -A_im cos psi.
#pragma once

#include "lanes.h"

namespace gabor {

constexpr int kMaxRadius = 5;  // kernel sizes up to 11
constexpr int kParameters = 8;
constexpr int kWaves = 2;  // the cosine at f_re and the sine at f_im

enum Parameter {
  kSigma,
  kThetaY,
  kThetaZ,
  kAmplitudeRe,
  kAmplitudeIm,
  kFrequencyRe,
  kFrequencyIm,
  kPhase
};

// One vector of output channels for each parameter of one input channel.
template <typename T>
struct Parameters {
  Vector<T> value[kParameters];

  // Reads [8, c_in, c_out] at (input, first output ...); missing lanes get a silent pair.
  Parameters(const T* parameters, int64_t inputs, int64_t outputs, int64_t input, int64_t first) {
    const int64_t count = outputs - first;
    for (int n = 0; n < kParameters; ++n) {
      const T* row = parameters + (n * inputs + input) * outputs + first;
      if (count >= kLanes<T>) {
        value[n] = load(row);
      } else {
        value[n] = Vector<T>{};
        for (int lane = 0; lane < count; ++lane) value[n][lane] = row[lane];
      }
    }
  }
};

template <typename T>
struct Taps {
  using V = Vector<T>;
  V cosine[kWaves][3][kMaxRadius + 1];
  V sine[kWaves][3][kMaxRadius + 1];
  V alpha, beta, gamma, delta;
};

// What the parameters of a pair stand for. An angle grows with the distance from the centre, and
// its rounding error with it, so all this is computed in double and rounded once.
template <typename T>
class Pair {
 public:
  using V = Vector<T>;

  Pair(const Parameters<T>& parameters, const int (&radius)[3]) : p_(parameters.value) {
    for (int axis = 0; axis < 3; ++axis) radius_[axis] = radius[axis];
    tabulate();
  }

  const Taps<T>& taps() const { return taps_; }

  // The chain rule from the gradient of the taps to that of the parameters.
  void backward(const Taps<T>& grad, V (&parameter_grad)[kParameters]) const {
    V sigma{}, frequency[kWaves] = {}, direction[3] = {};
    for (int wave = 0; wave < kWaves; ++wave) {
      for (int axis = 0; axis < 3; ++axis) {
        V angle{};
        for (int x = 1; x <= radius_[axis]; ++x) {
          const V c = taps_.cosine[wave][axis][x], s = taps_.sine[wave][axis][x];
          const V dc = grad.cosine[wave][axis][x], ds = grad.sine[wave][axis][x];
          sigma += (dc * c + ds * s) * T(x * x);
          angle += (c * ds - s * dc) * T(x);
        }
        frequency[wave] += direction_[axis] * angle;
        direction[axis] += p_[kFrequencyRe + wave] * angle;
      }
    }
    const T turn = T(6.283185307179586477);
    for (V& d : direction) d *= turn;
    parameter_grad[kSigma] = sigma * inverse_sigma_ * inverse_sigma_ * inverse_sigma_;
    parameter_grad[kThetaY] =
        direction[2] * cosine_y_ - sine_y_ * (direction[0] * cosine_z_ - direction[1] * sine_z_);
    parameter_grad[kThetaZ] = -cosine_y_ * (direction[0] * sine_z_ + direction[1] * cosine_z_);
    parameter_grad[kFrequencyRe] = frequency[0] * turn;
    parameter_grad[kFrequencyIm] = frequency[1] * turn;
    parameter_grad[kAmplitudeRe] = cosine_phase_ * grad.alpha + sine_phase_ * grad.gamma;
    parameter_grad[kAmplitudeIm] = sine_phase_ * grad.beta - cosine_phase_ * grad.delta;
    parameter_grad[kPhase] =
        p_[kAmplitudeRe] * (cosine_phase_ * grad.gamma - sine_phase_ * grad.alpha) +
        p_[kAmplitudeIm] * (cosine_phase_ * grad.beta + sine_phase_ * grad.delta);
  }

 private:
  using D = Doubled<T>;

  void tabulate() {
    const SineCosine<T> y = sine_cosine(wide(kThetaY)), z = sine_cosine(wide(kThetaZ));
    sine_y_ = y.sine.rounded();
    cosine_y_ = y.cosine.rounded();
    sine_z_ = z.sine.rounded();
    cosine_z_ = z.cosine.rounded();
    tabulate_amplitudes();
    const D direction[3] = {y.cosine * z.cosine, -(y.cosine * z.sine), y.sine};
    SineCosine<T> one[kWaves][3];  // of the angles phi
    for (int wave = 0; wave < kWaves; ++wave) {
      const D given = wide(kFrequencyRe + wave);
      const D frequency = each_part<T>([&](int n) { return bounded(given.part[n]); });
      for (int axis = 0; axis < 3; ++axis)
        one[wave][axis] = sine_cosine_of_turns(frequency * direction[axis]);
    }
    D envelope[kMaxRadius + 1];
    tabulate_envelope(envelope);
    for (int axis = 0; axis < 3; ++axis) {
      direction_[axis] = direction[axis].rounded();
      for (int wave = 0; wave < kWaves; ++wave)
        tabulate_wave(wave, axis, envelope, one[wave][axis]);
    }
  }

  void tabulate_amplitudes() {
    const SineCosine<T> phase = sine_cosine(wide(kPhase));
    const D amplitude_re = wide(kAmplitudeRe), amplitude_im = wide(kAmplitudeIm);
    sine_phase_ = phase.sine.rounded();
    cosine_phase_ = phase.cosine.rounded();
    taps_.alpha = (amplitude_re * phase.cosine).rounded();
    taps_.beta = (amplitude_im * phase.sine).rounded();
    taps_.gamma = (amplitude_re * phase.sine).rounded();
    taps_.delta = (-(amplitude_im * phase.cosine)).rounded();
  }

  // w(x) from w(x - 1) by odd powers of w(1).
  void tabulate_envelope(D (&envelope)[kMaxRadius + 1]) {
    const D sigma = wide(kSigma);
    // A sigma this small leaves the centre voxel alone, with a gradient of zero; NaN is not small.
    const D inverse = each_part<T>([&](int n) {
      return select(absolute(sigma.part[n]) <= 0.02, Wide{}, 1 / sigma.part[n]);
    });
    inverse_sigma_ = inverse.rounded();
    envelope[1] = each_part<T>([&](int n) {
      const Wide decay = exponential<T>(inverse.part[n] * inverse.part[n] * -0.5);
      return select(absolute(sigma.part[n]) <= 0.02, Wide{}, decay);
    });
    const D square = envelope[1] * envelope[1];
    D power = envelope[1];
    for (int x = 2; x <= kMaxRadius; ++x) {
      power = power * square;
      envelope[x] = envelope[x - 1] * power;
    }
  }

  void tabulate_wave(int wave, int axis, const D* envelope, const SineCosine<T>& one) {
    SineCosine<T> angle = one;  // x phi, by adding phi each time
    for (int x = 1; x <= radius_[axis]; ++x) {
      taps_.cosine[wave][axis][x] = (envelope[x] * angle.cosine).rounded();
      taps_.sine[wave][axis][x] = (envelope[x] * angle.sine).rounded();
      angle = {angle.sine * one.cosine + angle.cosine * one.sine,
               angle.cosine * one.cosine - angle.sine * one.sine};
    }
  }

  D wide(int parameter) const { return D::of(p_[parameter]); }

  const V* p_;
  int radius_[3];
  Taps<T> taps_;
  V sine_y_, cosine_y_, sine_z_, cosine_z_, sine_phase_, cosine_phase_;
  V direction_[3];
  V inverse_sigma_;
};

}  // namespace gabor
