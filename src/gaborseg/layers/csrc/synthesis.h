// Kernels from parameters, (c_out, c_in, K, K, K), and the gradient back.
//
// With the complex factors g_a(x) = C_a(x) + i S_a(x) of each wave, the line along z at (x, y) is
//   G(x, y, z) = Re[a g_2(z)] + Re[b g'_2(z)],
//   a = (alpha + i gamma) g_0(x) g_1(y),   b = (beta + i delta) g'_0(x) g'_1(y),
// and the offsets z and -z share their products.
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>

#include "pair.h"

namespace gabor {

// One wave's separable factors on the offsets -radius ... radius: complex numbers w(x) exp(i phi
// x).
template <typename T>
struct Complex {
  Vector<T> re, im;
};

template <typename T>
inline Complex<T> operator*(const Complex<T>& a, const Complex<T>& b) {
  return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}

template <typename T>
inline Complex<T> times_conjugate(const Complex<T>& a, const Complex<T>& b) {
  return {a.re * b.re + a.im * b.im, a.im * b.re - a.re * b.im};
}

template <typename T>
inline Complex<T>& operator+=(Complex<T>& a, const Complex<T>& b) {
  a.re += b.re;
  a.im += b.im;
  return a;
}

template <typename T>
inline Complex<T> tap(const Taps<T>& taps, int wave, int axis, int x) {
  if (x == 0) return {Vector<T>{} + T(1), Vector<T>{}};
  if (x < 0) return {taps.cosine[wave][axis][-x], -taps.sine[wave][axis][-x]};
  return {taps.cosine[wave][axis][x], taps.sine[wave][axis][x]};
}

template <typename T>
inline void add_tap(Taps<T>& grad, int wave, int axis, int x, const Complex<T>& value) {
  if (x == 0) return;  // the centre is 1 whatever the parameters are
  grad.cosine[wave][axis][x < 0 ? -x : x] += value.re;
  if (x < 0)
    grad.sine[wave][axis][-x] -= value.im;
  else
    grad.sine[wave][axis][x] += value.im;
}

// The wave's amplitude A exp(i psi) as a complex number whose product with u has the real part we
// want: alpha + i gamma for the cosine wave, beta + i delta for the sine wave.
template <typename T>
inline Complex<T> amplitude(const Taps<T>& taps, int wave) {
  return wave == 0 ? Complex<T>{taps.alpha, taps.gamma} : Complex<T>{taps.beta, taps.delta};
}

// values[K * K * K], lanes = output channels.
template <typename T>
void kernel_values(const Taps<T>& taps, int radius, Vector<T>* values) {
  using V = Vector<T>;
  const int size = 2 * radius + 1;
  for (int x = -radius; x <= radius; ++x) {
    const Complex<T> cosine_x = amplitude(taps, 0) * tap(taps, 0, 0, x);
    const Complex<T> sine_x = amplitude(taps, 1) * tap(taps, 1, 0, x);
    for (int y = -radius; y <= radius; ++y) {
      const Complex<T> a = cosine_x * tap(taps, 0, 1, y), b = sine_x * tap(taps, 1, 1, y);
      V* centre = values + ((x + radius) * size + y + radius) * size + radius;
      centre[0] = a.re + b.re;
      for (int z = 1; z <= radius; ++z) {
        const V even = a.re * taps.cosine[0][2][z] + b.re * taps.cosine[1][2][z];
        const V odd = a.im * taps.sine[0][2][z] + b.im * taps.sine[1][2][z];
        centre[z] = even - odd;
        centre[-z] = even + odd;
      }
    }
  }
}

template <typename T>
Taps<T> kernel_values_backward(const Taps<T>& taps, int radius, const Vector<T>* grad_values) {
  using V = Vector<T>;
  const int size = 2 * radius + 1;
  Taps<T> grad = {};
  Complex<T> grad_amplitude[kWaves] = {};
  for (int x = -radius; x <= radius; ++x) {
    Complex<T> along_x[kWaves], grad_x[kWaves] = {};
    for (int wave = 0; wave < kWaves; ++wave)
      along_x[wave] = amplitude(taps, wave) * tap(taps, wave, 0, x);
    for (int y = -radius; y <= radius; ++y) {
      const Complex<T> a = along_x[0] * tap(taps, 0, 1, y), b = along_x[1] * tap(taps, 1, 1, y);
      const V* centre = grad_values + ((x + radius) * size + y + radius) * size + radius;
      Complex<T> da = {centre[0], V{}}, db = {centre[0], V{}};
      for (int z = 1; z <= radius; ++z) {
        const V even = centre[z] + centre[-z], odd = centre[-z] - centre[z];
        da.re += even * taps.cosine[0][2][z];
        db.re += even * taps.cosine[1][2][z];
        da.im += odd * taps.sine[0][2][z];
        db.im += odd * taps.sine[1][2][z];
        grad.cosine[0][2][z] += even * a.re;
        grad.cosine[1][2][z] += even * b.re;
        grad.sine[0][2][z] += odd * a.im;
        grad.sine[1][2][z] += odd * b.im;
      }
      add_tap(grad, 0, 1, y, times_conjugate(da, along_x[0]));
      add_tap(grad, 1, 1, y, times_conjugate(db, along_x[1]));
      grad_x[0] += times_conjugate(da, tap(taps, 0, 1, y));
      grad_x[1] += times_conjugate(db, tap(taps, 1, 1, y));
    }
    for (int wave = 0; wave < kWaves; ++wave) {
      add_tap(grad, wave, 0, x, times_conjugate(grad_x[wave], amplitude(taps, wave)));
      grad_amplitude[wave] += times_conjugate(grad_x[wave], tap(taps, wave, 0, x));
    }
  }
  grad.alpha = grad_amplitude[0].re;
  grad.gamma = grad_amplitude[0].im;
  grad.beta = grad_amplitude[1].re;
  grad.delta = grad_amplitude[1].im;
  return grad;
}

template <typename T>
void synthesis_forward(const T* parameters, int64_t inputs, int64_t outputs, int64_t kernel_size,
                       T* kernel) {
  const int radius = static_cast<int>((kernel_size - 1) / 2), radii[3] = {radius, radius, radius};
  const int64_t voxels = kernel_size * kernel_size * kernel_size, vectors = vectors_for<T>(outputs);
  at::parallel_for(0, inputs * vectors, 1, [&](int64_t begin, int64_t end) {
    Buffer<Vector<T>> values(voxels);
    for (int64_t n = begin; n < end; ++n) {
      const int64_t input = n / vectors, first = n % vectors * kLanes<T>;
      const Parameters<T> pair_values(parameters, inputs, outputs, input, first);
      kernel_values<T>(Pair<T>(pair_values, radii).taps(), radius, values);
      T* to[kLanes<T>];
      for (int lane = 0; lane < kLanes<T>; ++lane)
        to[lane] = kernel + ((first + lane) * inputs + input) * voxels;
      vectors_to_runs<T>(values, voxels, to,
                         static_cast<int>(std::min<int64_t>(kLanes<T>, outputs - first)));
    }
  });
}

template <typename T>
void synthesis_backward(const T* parameters, int64_t inputs, int64_t outputs, int64_t kernel_size,
                        const T* kernel_grad, T* parameter_grad) {
  const int radius = static_cast<int>((kernel_size - 1) / 2), radii[3] = {radius, radius, radius};
  const int64_t voxels = kernel_size * kernel_size * kernel_size, vectors = vectors_for<T>(outputs);
  at::parallel_for(0, inputs * vectors, 1, [&](int64_t begin, int64_t end) {
    Buffer<Vector<T>> values(voxels);
    for (int64_t n = begin; n < end; ++n) {
      const int64_t input = n / vectors, first = n % vectors * kLanes<T>;
      const Parameters<T> pair_values(parameters, inputs, outputs, input, first);
      const Pair<T> pair(pair_values, radii);
      const Taps<T>& taps = pair.taps();
      const int count = static_cast<int>(std::min<int64_t>(kLanes<T>, outputs - first));
      const T* from[kLanes<T>];
      for (int lane = 0; lane < count; ++lane)
        from[lane] = kernel_grad + ((first + lane) * inputs + input) * voxels;
      runs_to_vectors<T>(from, count, voxels, values);
      Vector<T> gradients[kParameters];
      pair.backward(kernel_values_backward<T>(taps, radius, values), gradients);
      for (int m = 0; m < kParameters; ++m) {
        T* to = parameter_grad + (m * inputs + input) * outputs + first;
        for (int lane = 0; lane < count; ++lane) to[lane] = gradients[m][lane];
      }
    }
  });
}

}  // namespace gabor
