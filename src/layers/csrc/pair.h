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

template <typename T>
class Pair {
 public:
  using V = Vector<T>;

  Pair(const Parameters<T>& parameters, const int (&radius)[3]) : p_(parameters.value) {
    for (int axis = 0; axis < 3; ++axis) radius_[axis] = radius[axis];
    sine_cosine<T>(p_[kPhase], sine_phase_, cosine_phase_);
    for (int part = 0; part < kParts<T>; ++part) orient(part);
    // A sigma this small leaves the centre voxel alone, with a gradient of zero.
    inverse_sigma_ = select(absolute(p_[kSigma]) > T(0.02), T(1) / p_[kSigma], V{});
  }

  Taps<T> taps() const {
    Taps<T> taps;
    taps.alpha = p_[kAmplitudeRe] * cosine_phase_;
    taps.beta = p_[kAmplitudeIm] * sine_phase_;
    taps.gamma = p_[kAmplitudeRe] * sine_phase_;
    taps.delta = -(p_[kAmplitudeIm] * cosine_phase_);
    V envelope[kMaxRadius + 1];
    const int widest = max_radius();
    for (int x = 1; x <= widest; ++x) {
      const V decay = exponential<T>(inverse_sigma_ * inverse_sigma_ * T(-0.5 * x * x));
      envelope[x] = select(inverse_sigma_ != 0, decay, V{});
    }
    for (int wave = 0; wave < kWaves; ++wave) {
      for (int axis = 0; axis < 3; ++axis) {
        V sine, cosine;
        sine_cosine_of_turns<T>(turns_[wave][axis], sine, cosine);
        V sine_x = sine, cosine_x = cosine;  // of the angle x phi, by adding phi each time
        for (int x = 1; x <= radius_[axis]; ++x) {
          taps.cosine[wave][axis][x] = envelope[x] * cosine_x;
          taps.sine[wave][axis][x] = envelope[x] * sine_x;
          const V next = cosine_x * cosine - sine_x * sine;
          sine_x = sine_x * cosine + cosine_x * sine;
          cosine_x = next;
        }
      }
    }
    return taps;
  }

  // The chain rule from the gradient of the taps to that of the parameters.
  void backward(const Taps<T>& taps, const Taps<T>& grad, V (&parameter_grad)[kParameters]) const {
    V sigma{}, frequency[kWaves] = {}, direction[3] = {};
    for (int wave = 0; wave < kWaves; ++wave) {
      for (int axis = 0; axis < 3; ++axis) {
        V angle{};
        for (int x = 1; x <= radius_[axis]; ++x) {
          const V c = taps.cosine[wave][axis][x], s = taps.sine[wave][axis][x];
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
  // The direction r and the turns f r_a, in double: an angle grows with the distance from the
  // centre, and with it the rounding error of r, so that float alone would lose a digit at high
  // frequencies.
  void orient(int part) {
    using Wide = Vector<double>;
    Wide sine_y, cosine_y, sine_z, cosine_z;
    sine_cosine<double>(widen<T>(p_[kThetaY], part), sine_y, cosine_y);
    sine_cosine<double>(widen<T>(p_[kThetaZ], part), sine_z, cosine_z);
    const Wide direction[3] = {cosine_y * cosine_z, -(cosine_y * sine_z), sine_y};
    for (int axis = 0; axis < 3; ++axis) {
      narrow<T>(direction[axis], part, direction_[axis]);
      for (int wave = 0; wave < kWaves; ++wave) {
        const Wide turns = widen<T>(p_[kFrequencyRe + wave], part) * direction[axis];
        narrow<T>(fraction_of_turns<double>(turns), part, turns_[wave][axis]);
      }
    }
    narrow<T>(sine_y, part, sine_y_);
    narrow<T>(cosine_y, part, cosine_y_);
    narrow<T>(sine_z, part, sine_z_);
    narrow<T>(cosine_z, part, cosine_z_);
  }

  int max_radius() const {
    int widest = 0;
    for (int radius : radius_) widest = radius > widest ? radius : widest;
    return widest;
  }

  const V* p_;
  int radius_[3];
  V sine_y_, cosine_y_, sine_z_, cosine_z_, sine_phase_, cosine_phase_;
  V direction_[3], turns_[kWaves][3];
  V inverse_sigma_;
};

}  // namespace gabor
