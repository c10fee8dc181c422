// The entry points of the native Gabor layer, called through ctypes: plain C, pointers and sizes.
//
// Inputs come with their strides in elements; outputs are contiguous. Each function returns 0, or 1
// when memory ran out.
#include "spectral.h"
#include "synthesis.h"

// All else is hidden, and so inlined at will.
#define EXPORT extern "C" __attribute__((visibility("default")))

namespace {

template <typename Work>
int guarded(Work work) {
  try {
    work();
    return 0;
  } catch (const std::bad_alloc&) {
    return 1;
  }
}

template <typename T>
gabor::Volume<T> volume(T* data, const int64_t* strides) {
  return {data, {strides[0], strides[1], strides[2], strides[3], strides[4]}};
}

// shape: batch, inputs, outputs, depth, height, width, kernel size.
template <typename T>
gabor::Layer<T> layer(const int64_t* shape) {
  return {shape[0], shape[1], shape[2],
          gabor::SpectralPlan<T>(gabor::Geometry(shape + 3, shape[6]))};
}

template <typename T>
int forward(const int64_t* shape, const T* parameters, const T* x, const int64_t* x_strides, T* y) {
  return guarded(
      [&] { gabor::spectral_forward(layer<T>(shape), parameters, volume(x, x_strides), y); });
}

// wanted: whether the gradients by x and by the parameters are; at least one.
template <typename T>
int backward(const int64_t* shape, const int64_t* wanted, const T* parameters, const T* x,
             const int64_t* x_strides, const T* dy, const int64_t* dy_strides, T* dx,
             T* parameter_grad) {
  using gabor::Wanted;
  constexpr Wanted both{true, true}, input_only{true, false}, parameters_only{false, true};
  const auto run = wanted[0] == 0   ? gabor::spectral_backward<T, parameters_only>
                   : wanted[1] == 0 ? gabor::spectral_backward<T, input_only>
                                    : gabor::spectral_backward<T, both>;
  return guarded([&] {
    run(layer<T>(shape), parameters, volume<const T>(x, x_strides),
        volume<const T>(dy, dy_strides), dx, parameter_grad);
  });
}

// shape: inputs, outputs, kernel size.
template <typename T>
int synthesise(const int64_t* shape, const T* parameters, T* kernel) {
  return guarded(
      [&] { gabor::synthesis_forward(parameters, shape[0], shape[1], shape[2], kernel); });
}

template <typename T>
int synthesise_backward(const int64_t* shape, const T* parameters, const T* kernel_grad,
                        T* parameter_grad) {
  return guarded([&] {
    gabor::synthesis_backward(parameters, shape[0], shape[1], shape[2], kernel_grad,
                              parameter_grad);
  });
}

}  // namespace

EXPORT int spectral_forward_float(const int64_t* shape, const float* parameters, const float* x,
                                  const int64_t* x_strides, float* y) {
  return forward(shape, parameters, x, x_strides, y);
}

EXPORT int spectral_forward_double(const int64_t* shape, const double* parameters, const double* x,
                                   const int64_t* x_strides, double* y) {
  return forward(shape, parameters, x, x_strides, y);
}

EXPORT int spectral_backward_float(const int64_t* shape, const int64_t* wanted,
                                   const float* parameters, const float* x,
                                   const int64_t* x_strides, const float* dy,
                                   const int64_t* dy_strides, float* dx, float* parameter_grad) {
  return backward(shape, wanted, parameters, x, x_strides, dy, dy_strides, dx, parameter_grad);
}

EXPORT int spectral_backward_double(const int64_t* shape, const int64_t* wanted,
                                    const double* parameters, const double* x,
                                    const int64_t* x_strides, const double* dy,
                                    const int64_t* dy_strides, double* dx, double* parameter_grad) {
  return backward(shape, wanted, parameters, x, x_strides, dy, dy_strides, dx, parameter_grad);
}

EXPORT int synthesis_forward_float(const int64_t* shape, const float* parameters, float* kernel) {
  return synthesise(shape, parameters, kernel);
}

EXPORT int synthesis_forward_double(const int64_t* shape, const double* parameters,
                                    double* kernel) {
  return synthesise(shape, parameters, kernel);
}

EXPORT int synthesis_backward_float(const int64_t* shape, const float* parameters,
                                    const float* kernel_grad, float* parameter_grad) {
  return synthesise_backward(shape, parameters, kernel_grad, parameter_grad);
}

EXPORT int synthesis_backward_double(const int64_t* shape, const double* parameters,
                                     const double* kernel_grad, double* parameter_grad) {
  return synthesise_backward(shape, parameters, kernel_grad, parameter_grad);
}
