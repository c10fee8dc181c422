// The fused 'same' convolution with Gabor kernels, by whole-volume Fourier transforms.
//
// torch's convolution correlates, y[n] = sum_d K[d] x[n + d], so with T(k) = sum_d K[d] exp(2 pi i
// k d / N)
//   Y_o(k) = sum_i T_io(k) X_i(k),   dX_i(k) = sum_o conj(T_io(k)) dY_o(k),   dT_io(k) = dY_o(k)
//   conj(X_i(k)).
// Output channels are the lanes of a vector, spectra of input channels are scalars. T is made on
// the fly, two mirrored rows at a time; neither kernels nor transfer functions are ever stored.
// Every sum has one order, whatever the number of threads.
#pragma once

#include <ATen/Parallel.h>

#include "transfer.h"

namespace gabor {

// A (B, C, D, H, W) tensor wherever its elements are.
template <typename T>
struct Volume {
  T* data;
  int64_t stride[5];

  T* line(int64_t batch, int64_t channel, int64_t d, int64_t h) const {
    return data + batch * stride[0] + channel * stride[1] + d * stride[2] + h * stride[3];
  }
};

constexpr int64_t kChunkBytes = 192 * 1024;

// Rows first ... last - 1, counted from the central one; each brings its mirror image along.
struct Chunk {
  int64_t first, last;

  int64_t count() const { return last - first; }
};

// Layer sizes and the plan that forward and backward share.
template <typename T>
struct Layer {
  int64_t batch, inputs, outputs;
  SpectralPlan<T> plan;

  const Geometry& geometry() const { return plan.geometry; }
  int64_t scalars() const { return 2 * geometry().frequencies(); }  // of one channel's spectrum
  int64_t rows() const {
    return (geometry().rows() + 1) / 2;
  }  // the central one, and one of each mirrored pair

  // Rows come in chunks whose vectors stay in the second-level cache, at least as many as asked
  // for.
  int64_t chunks(int64_t least) const {
    const int64_t bytes = scalars() * kVectorBytes;
    return std::min(rows(), std::max(least, (bytes + kChunkBytes - 1) / kChunkBytes));
  }
  Chunk chunk(int64_t n, int64_t chunks) const {
    return {rows() * n / chunks, rows() * (n + 1) / chunks};
  }
  int64_t longest_chunk() const { return (rows() + chunks(1) - 1) / chunks(1); }
};

// Copies one vector of channels, [D, H, W] lanes, from a tensor; lanes past the last channel are 0.
template <typename T>
void gather(const Volume<const T>& x, const Geometry& g, int64_t batch, int64_t first,
            int64_t channels, Vector<T>* lanes) {
  const int count = static_cast<int>(std::min<int64_t>(kLanes<T>, channels - first));
  for (int64_t d = 0; d < g.size[0]; ++d) {
    for (int64_t h = 0; h < g.size[1]; ++h, lanes += g.size[2]) {
      const T* runs[kLanes<T>];
      for (int lane = 0; lane < count; ++lane) runs[lane] = x.line(batch, first + lane, d, h);
      if (x.stride[4] == 1) {
        runs_to_vectors<T>(runs, count, g.size[2], lanes);
        continue;
      }
      for (int64_t w = 0; w < g.size[2]; ++w) {
        lanes[w] = Vector<T>{};
        for (int lane = 0; lane < count; ++lane) lanes[w][lane] = runs[lane][w * x.stride[4]];
      }
    }
  }
}

// The way back, to a contiguous tensor.
template <typename T>
void scatter(const Vector<T>* lanes, const Geometry& g, int64_t batch, int64_t first,
             int64_t channels, T* y) {
  T* runs[kLanes<T>];
  for (int lane = 0; lane < kLanes<T>; ++lane)
    runs[lane] = y + (batch * channels + first + lane) * g.voxels();
  vectors_to_runs<T>(lanes, g.voxels(), runs,
                     static_cast<int>(std::min<int64_t>(kLanes<T>, channels - first)));
}

// Spectra of all channels, [B, vectors, rows, line, 2] vectors.
template <typename T>
Buffer<Vector<T>> transform(const Layer<T>& layer, const Volume<const T>& x, int64_t channels) {
  using V = Vector<T>;
  const Geometry& g = layer.geometry();
  const int64_t vectors = vectors_for<T>(channels);
  Buffer<V> spectra(layer.batch * vectors * layer.scalars());
  at::parallel_for(0, layer.batch * vectors, 1, [&](int64_t begin, int64_t end) {
    Buffer<V> volume(g.voxels()), first(layer.plan.fourier.scratch()),
        second(layer.plan.fourier.scratch());
    for (int64_t n = begin; n < end; ++n) {
      const int64_t channel = n % vectors * kLanes<T>;
      gather(x, g, n / vectors, channel, channels, volume);
      layer.plan.fourier.forward(volume, first, second, spectra + n * layer.scalars());
    }
  });
  return spectra;
}

// From spectra back to a contiguous tensor.
template <typename T>
void transform_back(const Layer<T>& layer, const Vector<T>* spectra, int64_t channels, T* y) {
  using V = Vector<T>;
  const Geometry& g = layer.geometry();
  const int64_t vectors = vectors_for<T>(channels);
  at::parallel_for(0, layer.batch * vectors, 1, [&](int64_t begin, int64_t end) {
    Buffer<V> volume(g.voxels()), first(layer.plan.fourier.scratch()),
        second(layer.plan.fourier.scratch());
    for (int64_t n = begin; n < end; ++n) {
      layer.plan.fourier.inverse(spectra + n * layer.scalars(), first, second, volume);
      scatter<T>(volume, g, n / vectors, n % vectors * kLanes<T>, channels, y);
    }
  });
}

// Where the spectra of one vector of channels stand when laid out channel by channel.
template <typename T>
struct ChannelRuns {
  T* run[kLanes<std::remove_const_t<T>>];

  ChannelRuns(T* first, int64_t scalars) {
    for (T*& channel : run) {
      channel = first;
      first += scalars;
    }
  }
};

// Sums the lanes of each of count vectors.
template <typename T>
void sum_lanes(const Vector<T>* from, int64_t count, T* to) {
  constexpr int width = kLanes<T>;
  int64_t s = 0;
  for (; s + width <= count; s += width) {
    Vector<T> square[width], sum{};
    std::copy_n(from + s, width, square);
    transpose<T>(square);
    for (const Vector<T>& row : square) sum += row;
    store(to + s, sum);
  }
  for (; s < count; ++s) {
    to[s] = from[s][0];
    for (int lane = 1; lane < width; ++lane) to[s] += from[s][lane];
  }
}

// Spectra of all channels, [B, channels, rows, line, 2] scalars: the loops over pairs read one
// input channel at a time.
template <typename T>
Buffer<T> transform_by_channel(const Layer<T>& layer, const Volume<const T>& x, int64_t channels) {
  const int64_t blocks = layer.batch * vectors_for<T>(channels), scalars = layer.scalars();
  const Buffer<Vector<T>> spectra = transform(layer, x, channels);
  Buffer<T> planes(blocks * kLanes<T> * scalars);
  at::parallel_for(0, blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      const ChannelRuns<T> to(planes + n * kLanes<T> * scalars, scalars);
      vectors_to_runs<T>(spectra + n * scalars, scalars, to.run, kLanes<T>);
    }
  });
  return planes;
}

// At k2 = 0 mirrored rows are conjugate: the loops over pairs fill the upper one alone.
template <typename S>
void fill_mirrored(const Geometry& g, Chunk rows, S* spectrum) {
  const int64_t line = 2 * g.line();
  for (int64_t row = rows.first; row < rows.last; ++row) {
    const S* upper = spectrum + (g.centre() + row) * line;
    S* lower = spectrum + (g.centre() - row) * line;
    lower[0] = upper[0];
    lower[1] = -upper[1];
  }
}

// Y += sum over kInputs channels of T X, on a row and its mirror image.
template <typename T, int kInputs>
inline __attribute__((always_inline)) void accumulate_row(int64_t line, const Row<T>* rows,
                                                          const Vector<T>* const* tables,
                                                          const T* const* upper,
                                                          const T* const* lower, Vector<T>* y1,
                                                          Vector<T>* y2) {
  using V = Vector<T>;
  using X = Transfer<T>;
  V re = y1[0], im = y1[1];
#pragma GCC unroll 4
  for (int i = 0; i < kInputs; ++i) {
    const V* e = tables[i];
    const V tr = rows[i].p * e[X::kAlphaE] + rows[i].q * e[X::kBetaE];
    const V ti = rows[i].m * e[X::kGammaE] + rows[i].n * e[X::kDeltaE];
    re += tr * upper[i][0];
    im += tr * upper[i][1];
    re -= ti * upper[i][1];
    im += ti * upper[i][0];
  }
  y1[0] = re;
  y1[1] = im;
  for (int64_t k = 1; k < line; ++k) {
    V re1 = y1[2 * k], im1 = y1[2 * k + 1], re2 = y2[2 * k], im2 = y2[2 * k + 1];
#pragma GCC unroll 4
    for (int i = 0; i < kInputs; ++i) {
      const V* e = tables[i] + X::kTable * k;
      const V even_re = rows[i].p * e[X::kAlphaE] + rows[i].q * e[X::kBetaE];
      const V odd_re = rows[i].m * e[X::kAlphaO] + rows[i].n * e[X::kBetaO];
      const V even_im = rows[i].m * e[X::kGammaE] + rows[i].n * e[X::kDeltaE];
      const V odd_im = rows[i].p * e[X::kGammaO] + rows[i].q * e[X::kDeltaO];
      const V tr1 = even_re + odd_re, ti1 = even_im + odd_im;
      const V tr2 = even_re - odd_re, ti2 = odd_im - even_im;
      const T x1r = upper[i][2 * k], x1i = upper[i][2 * k + 1];
      const T x2r = lower[i][2 * k], x2i = lower[i][2 * k + 1];
      re1 += tr1 * x1r;
      im1 += tr1 * x1i;
      re2 += tr2 * x2r;
      im2 += tr2 * x2i;
      re1 -= ti1 * x1i;
      im1 += ti1 * x1r;
      re2 -= ti2 * x2i;
      im2 += ti2 * x2r;
    }
    // The central row is its own mirror image, and then y1 has the last word.
    y2[2 * k] = re2;
    y2[2 * k + 1] = im2;
    y1[2 * k] = re1;
    y1[2 * k + 1] = im1;
  }
}

// The same on the rows of a chunk.
template <typename T, int kInputs>
void accumulate_rows(const Geometry& g, Chunk chunk, Transfer<T>* transfers, const T* inputs,
                     int64_t stride, Vector<T>* output) {
  const int64_t centre = g.centre(), line = g.line();
  const Vector<T>* tables[kInputs];
  for (int i = 0; i < kInputs; ++i) tables[i] = transfers[i].table(0);
  Frequencies k(g, chunk.first);
  for (int64_t row = chunk.first; row < chunk.last; ++row, k.advance()) {
    const int64_t above = 2 * line * (centre + row), below = 2 * line * (centre - row);
    Row<T> rows[kInputs];
    const T* upper[kInputs];
    const T* lower[kInputs];
    for (int i = 0; i < kInputs; ++i) {
      rows[i] = transfers[i].row(k);
      upper[i] = inputs + i * stride + above;
      lower[i] = inputs + i * stride + below;
    }
    accumulate_row<T, kInputs>(line, rows, tables, upper, lower, output + above, output + below);
  }
}

// One vector of output channels on the rows of a chunk, for all samples: output is (B, vectors)
// spectra.
template <typename T>
void output_rows(const Layer<T>& layer, const T* parameters, const T* spectrum, int64_t o,
                 Chunk rows, Transfer<T>* transfers, Vector<T>* output) {
  const Geometry& g = layer.geometry();
  const int64_t scalars = layer.scalars(), line = 2 * g.line(), centre = g.centre();
  const int64_t outputs = vectors_for<T>(layer.outputs);
  const int64_t inputs = vectors_for<T>(layer.inputs) * kLanes<T>;
  for (int64_t b = 0; b < layer.batch; ++b) {
    Vector<T>* to = output + (b * outputs + o) * scalars;
    std::fill_n(to + (centre + rows.first) * line, rows.count() * line, Vector<T>{});
    std::fill_n(to + (centre - rows.last + 1) * line, rows.count() * line, Vector<T>{});
  }
  // Two input channels at a time: half the traffic of Y, and as much as sixteen registers hold.
  for (int64_t i = 0; i < layer.inputs; i += 2) {
    const bool both = i + 1 < layer.inputs;
    for (int n = 0; n <= both; ++n) {
      const Parameters<T> values(parameters, layer.inputs, layer.outputs, i + n, o * kLanes<T>);
      transfers[n].build(Pair<T>(values, g.radius).taps());
    }
    for (int64_t b = 0; b < layer.batch; ++b) {
      Vector<T>* to = output + (b * outputs + o) * scalars;
      const T* from = spectrum + (b * inputs + i) * scalars;
      if (both) {
        accumulate_rows<T, 2>(g, rows, transfers, from, scalars, to);
      } else {
        accumulate_rows<T, 1>(g, rows, transfers, from, scalars, to);
      }
    }
  }
}

template <typename T>
void spectral_forward(const Layer<T>& layer, const T* parameters, const Volume<const T>& x, T* y) {
  using V = Vector<T>;
  const int64_t scalars = layer.scalars(), outputs = vectors_for<T>(layer.outputs);
  const Buffer<T> spectrum = transform_by_channel(layer, x, layer.inputs);
  Buffer<V> output(layer.batch * outputs * scalars);
  // Work is shared by vectors of output channels, and by rows where that alone would leave threads
  // idle: no sum is split, so the result does not depend on it.
  const int64_t threads = at::get_num_threads();
  const int64_t chunks = layer.chunks(outputs % threads == 0 ? 1 : 1 + 2 * threads / outputs);
  at::parallel_for(0, outputs * chunks, 1, [&](int64_t begin, int64_t end) {
    Transfer<T> transfers[2] = {Transfer<T>(layer.plan), Transfer<T>(layer.plan)};
    for (int64_t n = begin; n < end; ++n) {
      const Chunk rows = layer.chunk(n % chunks, chunks);
      output_rows<T>(layer, parameters, spectrum, n / chunks, rows, transfers, output);
    }
  });
  at::parallel_for(0, layer.batch * outputs, 1, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      fill_mirrored(layer.geometry(), Chunk{1, layer.rows()},
                    static_cast<V*>(output) + n * scalars);
    }
  });
  transform_back<T>(layer, output, layer.outputs, y);
}

// Which gradients a backward pass is asked for.
struct Wanted {
  bool input, parameters;
};

// On a row and its mirror image: dX += conj(T) dY, the gradient of the table, and that of the row's
// factors.
template <typename T, Wanted kWanted, bool kPaired>
inline __attribute__((always_inline)) Row<T> backward_row(int64_t line, const Row<T>& r,
                                                          const Vector<T>* table, const T* x1,
                                                          const T* x2, const Vector<T>* g1,
                                                          const Vector<T>* g2,
                                                          Vector<T>* table_grad, Vector<T>* dx1,
                                                          Vector<T>* dx2) {
  using V = Vector<T>;
  using X = Transfer<T>;
  Row<T> dr = {};
  if constexpr (kWanted.input) {
    const V even_re = r.p * table[X::kAlphaE] + r.q * table[X::kBetaE];
    const V even_im = r.m * table[X::kGammaE] + r.n * table[X::kDeltaE];
    dx1[0] += even_re * g1[0] + even_im * g1[1];
    dx1[1] += even_re * g1[1] - even_im * g1[0];
  }
  if constexpr (kWanted.parameters) {
    // The central frequency has no mirror image, and counts half.
    const T weight = kPaired ? T(1) : T(0.5);
    const V d_re = (g1[0] * x1[0] + g1[1] * x1[1]) * weight;
    const V d_im = (g1[1] * x1[0] - g1[0] * x1[1]) * weight;
    dr = {d_re * table[X::kAlphaE], d_im * table[X::kGammaE], d_re * table[X::kBetaE],
          d_im * table[X::kDeltaE]};
    table_grad[X::kAlphaE] += d_re * r.p;
    table_grad[X::kBetaE] += d_re * r.q;
    table_grad[X::kGammaE] += d_im * r.m;
    table_grad[X::kDeltaE] += d_im * r.n;
  }
  for (int64_t k = 1; k < line; ++k) {
    const V* e = table + X::kTable * k;
    const V g1r = g1[2 * k], g1i = g1[2 * k + 1];
    if constexpr (kWanted.input) {
      const V even_re = r.p * e[X::kAlphaE] + r.q * e[X::kBetaE];
      const V odd_re = r.m * e[X::kAlphaO] + r.n * e[X::kBetaO];
      const V even_im = r.m * e[X::kGammaE] + r.n * e[X::kDeltaE];
      const V odd_im = r.p * e[X::kGammaO] + r.q * e[X::kDeltaO];
      const V tr1 = even_re + odd_re, ti1 = even_im + odd_im;
      dx1[2 * k] += tr1 * g1r + ti1 * g1i;
      dx1[2 * k + 1] += tr1 * g1i - ti1 * g1r;
      if constexpr (kPaired) {
        const V tr2 = even_re - odd_re, ti2 = odd_im - even_im;
        const V g2r = g2[2 * k], g2i = g2[2 * k + 1];
        dx2[2 * k] += tr2 * g2r + ti2 * g2i;
        dx2[2 * k + 1] += tr2 * g2i - ti2 * g2r;
      }
    }
    if constexpr (kWanted.parameters) {
      V* de = table_grad + X::kTable * k;
      const V d_re1 = g1r * x1[2 * k] + g1i * x1[2 * k + 1];
      const V d_im1 = g1i * x1[2 * k] - g1r * x1[2 * k + 1];
      V d_even_re = d_re1, d_odd_re = d_re1, d_even_im = d_im1, d_odd_im = d_im1;
      if constexpr (kPaired) {
        const V g2r = g2[2 * k], g2i = g2[2 * k + 1];
        const V d_re2 = g2r * x2[2 * k] + g2i * x2[2 * k + 1];
        const V d_im2 = g2i * x2[2 * k] - g2r * x2[2 * k + 1];
        d_even_re += d_re2;
        d_odd_re -= d_re2;
        d_even_im -= d_im2;
        d_odd_im += d_im2;
      }
      dr.p += d_even_re * e[X::kAlphaE] + d_odd_im * e[X::kGammaO];
      dr.m += d_even_im * e[X::kGammaE] + d_odd_re * e[X::kAlphaO];
      dr.q += d_even_re * e[X::kBetaE] + d_odd_im * e[X::kDeltaO];
      dr.n += d_even_im * e[X::kDeltaE] + d_odd_re * e[X::kBetaO];
      de[X::kAlphaE] += d_even_re * r.p;
      de[X::kBetaE] += d_even_re * r.q;
      de[X::kGammaE] += d_even_im * r.m;
      de[X::kDeltaE] += d_even_im * r.n;
      de[X::kAlphaO] += d_odd_re * r.m;
      de[X::kBetaO] += d_odd_re * r.n;
      de[X::kGammaO] += d_odd_im * r.p;
      de[X::kDeltaO] += d_odd_im * r.q;
    }
  }
  return dr;
}

// The same on the rows of a chunk; input_grad holds those rows only, then their
// mirror images, both in ascending order.
template <typename T, Wanted kWanted>
void backward_rows(const Geometry& g, Chunk chunk, Transfer<T>& transfer, const T* input,
                   const Vector<T>* output_grad, Transfer<T>& transfer_grad,
                   Vector<T>* input_grad) {
  const int64_t centre = g.centre(), line = g.line();
  const Vector<T>* table = transfer.table(0);
  Vector<T>* table_grad = transfer_grad.table(0);
  Frequencies k(g, chunk.first);
  for (int64_t row = chunk.first; row < chunk.last; ++row, k.advance()) {
    const int64_t above = 2 * line * (centre + row), below = 2 * line * (centre - row);
    Vector<T>* dx1 = input_grad + 2 * line * (row - chunk.first);
    Vector<T>* dx2 = input_grad + 2 * line * (chunk.count() + chunk.last - 1 - row);
    const T *x1 = input + above, *x2 = input + below;
    const Vector<T>*g1 = output_grad + above, *g2 = output_grad + below;
    const Row<T> r = transfer.row(k);
    const Row<T> dr =
        row > 0
            ? backward_row<T, kWanted, true>(line, r, table, x1, x2, g1, g2, table_grad, dx1, dx2)
            : backward_row<T, kWanted, false>(line, r, table, x1, x2, g1, g2, table_grad, dx1, dx2);
    if (kWanted.parameters) transfer_grad.add_row(k, dr, transfer);
  }
}

// The backward pass of one input channel on the rows of a chunk. Adds to the gradients of its
// parameters; writes that of its spectrum, (B, channels) spectra, in the chunk's rows.
template <typename T, Wanted kWanted>
class BackwardChannel {
 public:
  using V = Vector<T>;

  BackwardChannel(const Layer<T>& layer, const T* parameters, const T* spectrum,
                  const V* output_grad)
      : layer_(layer),
        parameters_(parameters),
        spectrum_(spectrum),
        output_grad_(output_grad),
        inputs_(vectors_for<T>(layer.inputs) * kLanes<T>),
        outputs_(vectors_for<T>(layer.outputs)),
        transfer_(layer.plan),
        transfer_grad_(layer.plan),
        lanes_(kWanted.input ? layer.batch * 4 * layer.longest_chunk() * layer.geometry().line()
                             : 0) {}

  void run(int64_t i, Chunk rows, T* input_grad, T* parameter_grad) {
    const int64_t count = 4 * rows.count() * layer_.geometry().line();  // vectors of a sample
    if (kWanted.input) std::fill_n(static_cast<V*>(lanes_), layer_.batch * count, V{});
    for (int64_t o = 0; o < outputs_; ++o) run_outputs(i, o, rows, count, parameter_grad);
    for (int64_t b = 0; kWanted.input && b < layer_.batch; ++b) {
      collect(rows, lanes_ + b * count, input_grad + (b * inputs_ + i) * layer_.scalars());
    }
  }

 private:
  // One vector of output channels.
  void run_outputs(int64_t i, int64_t o, Chunk rows, int64_t count, T* parameter_grad) {
    const Geometry& g = layer_.geometry();
    const Parameters<T> values(parameters_, layer_.inputs, layer_.outputs, i, o * kLanes<T>);
    const Pair<T> pair(values, g.radius);
    transfer_.build(pair.taps());
    if (kWanted.parameters) transfer_grad_.clear();
    for (int64_t b = 0; b < layer_.batch; ++b) {
      backward_rows<T, kWanted>(
          g, rows, transfer_, spectrum_ + (b * inputs_ + i) * layer_.scalars(),
          output_grad_ + (b * outputs_ + o) * layer_.scalars(), transfer_grad_, lanes_ + b * count);
    }
    if (kWanted.parameters) add_parameter_grad(pair, i, o, parameter_grad);
  }

  void add_parameter_grad(const Pair<T>& pair, int64_t i, int64_t o, T* parameter_grad) {
    const Geometry& g = layer_.geometry();
    V gradients[kParameters];
    pair.backward(transfer_grad_.backward(pair.taps()), gradients);
    // Each row stands for two, of the period[0] * period[1] * period[2] frequencies.
    const T scale = T(2.0 / static_cast<double>(g.period[0] * g.period[1] * g.period[2]));
    const int64_t channels = std::min<int64_t>(kLanes<T>, layer_.outputs - o * kLanes<T>);
    for (int n = 0; n < kParameters; ++n) {
      T* to = parameter_grad + (n * layer_.inputs + i) * layer_.outputs + o * kLanes<T>;
      for (int64_t lane = 0; lane < channels; ++lane) to[lane] += gradients[n][lane] * scale;
    }
  }

  // Sums the lanes into place.
  void collect(Chunk rows, const V* lanes, T* spectrum) const {
    const Geometry& g = layer_.geometry();
    const int64_t line = 2 * g.line(), count = rows.count() * line;
    // The central row is its own mirror image, and then the upper sums have the last word.
    sum_lanes<T>(lanes + count, count, spectrum + (g.centre() - rows.last + 1) * line);
    sum_lanes<T>(lanes, count, spectrum + (g.centre() + rows.first) * line);
    fill_mirrored(g, Chunk{std::max<int64_t>(rows.first, 1), rows.last}, spectrum);
  }

  const Layer<T>& layer_;
  const T* parameters_;
  const T* spectrum_;
  const V* output_grad_;
  int64_t inputs_, outputs_;
  Transfer<T> transfer_, transfer_grad_;
  Buffer<V> lanes_;
};

// From spectra of input channels, one after the other, back to a contiguous tensor.
template <typename T>
void transform_back_by_channel(const Layer<T>& layer, const T* spectra, int64_t channels, T* x) {
  using V = Vector<T>;
  const int64_t scalars = layer.scalars(), blocks = layer.batch * vectors_for<T>(channels);
  Buffer<V> joined(blocks * scalars);
  at::parallel_for(0, blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      const ChannelRuns<const T> from(spectra + n * kLanes<T> * scalars, scalars);
      runs_to_vectors<T>(from.run, kLanes<T>, scalars, joined + n * scalars);
    }
  });
  transform_back<T>(layer, joined, channels, x);
}

// The gradients that are wanted; the other pointer is not used.
template <typename T, Wanted kWanted>
void spectral_backward(const Layer<T>& layer, const T* parameters, const Volume<const T>& x,
                       const Volume<const T>& dy, T* dx, T* parameter_grad) {
  using V = Vector<T>;
  const int64_t spectra = layer.batch * vectors_for<T>(layer.inputs) * kLanes<T>;
  const Buffer<T> spectrum =
      kWanted.parameters ? transform_by_channel(layer, x, layer.inputs) : Buffer<T>(0);
  const Buffer<V> output_grad = transform(layer, dy, layer.outputs);
  Buffer<T> input_grad(kWanted.input ? spectra * layer.scalars() : 0);
  if (kWanted.parameters)
    std::fill_n(parameter_grad, kParameters * layer.inputs * layer.outputs, T(0));
  // Chunks come first, so that the chunk's rows of dY stay in the cache from channel to channel.
  at::parallel_for(0, layer.inputs, 1, [&](int64_t begin, int64_t end) {
    BackwardChannel<T, kWanted> channel(layer, parameters, spectrum, output_grad);
    for (int64_t n = 0; n < layer.chunks(1); ++n) {
      const Chunk rows = layer.chunk(n, layer.chunks(1));
      for (int64_t i = begin; i < end; ++i) channel.run(i, rows, input_grad, parameter_grad);
    }
  });
  if (kWanted.input) transform_back_by_channel<T>(layer, input_grad, layer.inputs, dx);
}

}  // namespace gabor
