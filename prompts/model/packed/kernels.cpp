// What serving computes around its matrix products, one pass over memory each: plain C++ that a
// compiler turns into the vector instructions of the processor at hand. Called by `native.py`.
//
// All matrices are row by row and dense. Rows are independent: one thread computes each row whole,
// and always in the same order. A NaN anywhere in a row is in all that comes of the row.

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace {

enum Norm { kNone, kLayer, kRms };
enum Activation { kIdentity, kGelu, kGeluTanh, kSilu, kRelu, kRelu2 };

struct bfloat16 {
  uint16_t bits;
};

inline float to_float(float x) { return x; }
inline float to_float(bfloat16 x) { return std::bit_cast<float>(uint32_t(x.bits) << 16); }

inline void store(float x, float* to) { *to = x; }
inline void store(float x, bfloat16* to) {  // to the nearest, ties to even
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  to->bits = uint16_t(x == x ? rounded : 0x7fc0);
}

// Within 2e-7 of e^x, relatively; 1.6e-38 below -87.
inline float exponential(float x) {
  x = x < -87.0f ? -87.0f : x;
  x = x > 88.0f ? 88.0f : x;
  const float magic = 12582912.0f;  // 1.5 * 2^23: what is added to it is rounded to an integer
  const float shifted = x * 1.44269504f + magic;
  const float n = shifted - magic;
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  return p * std::bit_cast<float>((std::bit_cast<uint32_t>(shifted) << 23) + (127u << 23));
}

inline float sigmoid(float x) { return 1.0f / (1.0f + exponential(-x)); }

// Abramowitz and Stegun 7.1.26: within 2e-7.
inline float error_function(float x) {
  const float a = std::fabs(x), t = 1.0f / (1.0f + 0.3275911f * a);
  float p = 1.061405429f;
  p = p * t - 1.453152027f;
  p = p * t + 1.421413741f;
  p = p * t - 0.284496736f;
  p = p * t + 0.254829592f;
  return std::copysign(1.0f - p * t * exponential(-a * a), x);
}

template <int kind>
inline float activated(float x) {
  if (kind == kGelu) return 0.5f * x * (1.0f + error_function(x * 0.70710678f));
  if (kind == kGeluTanh) return x * sigmoid(1.59576912f * (x + 0.044715f * x * x * x));
  if (kind == kSilu) return x * sigmoid(x);
  if (kind == kRelu) return x < 0.0f ? 0.0f : x;
  if (kind == kRelu2) return x < 0.0f ? 0.0f : x * x;
  return x;
}

// x = least + step * (high + low / 256); without `low`, rounded to the nearest.
void quantize_row(const float* x, int64_t n, uint8_t* high, uint8_t* low, float* step,
                  float* least) {
  float lowest = std::numeric_limits<float>::infinity(), highest = -lowest, poison = 0.0f;
#pragma omp simd reduction(min : lowest) reduction(max : highest) reduction(+ : poison)
  for (int64_t j = 0; j < n; ++j) {
    lowest = x[j] < lowest ? x[j] : lowest;
    highest = x[j] > highest ? x[j] : highest;
    poison += x[j] * 0.0f;  // comparisons pass over a NaN
  }
  const float tiny = std::numeric_limits<float>::min();
  float size = (highest - lowest) / 255.0f;
  size = (size < tiny ? tiny : size) + poison;
  *step = size;
  *least = lowest;
  if (low == nullptr) {
#pragma omp simd
    for (int64_t j = 0; j < n; ++j) {
      const int32_t whole = int32_t((x[j] - lowest) / size + 0.5f);
      high[j] = uint8_t(whole > 255 ? 255 : whole);
    }
    return;
  }
#pragma omp simd
  for (int64_t j = 0; j < n; ++j) {
    const float steps = (x[j] - lowest) / size;
    const int32_t cut = int32_t(steps), whole = cut > 255 ? 255 : cut;
    const int32_t rest = int32_t((steps - float(whole)) * 256.0f);
    high[j] = uint8_t(whole);
    low[j] = uint8_t(rest > 255 ? 255 : rest);
  }
}

template <typename Out>
void normalize_row(const float* x, int64_t n, int64_t norm, const float* weight, const float* bias,
                   float eps, Out* y) {
  float sum = 0.0f, squares = 0.0f;
  if (norm == kLayer) {
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < n; ++j) sum += x[j];
  }
  const float mean = sum / float(n);
#pragma omp simd reduction(+ : squares)
  for (int64_t j = 0; j < n; ++j) squares += (x[j] - mean) * (x[j] - mean);
  const float scale = 1.0f / std::sqrt(squares / float(n) + eps);
#pragma omp simd
  for (int64_t j = 0; j < n; ++j)
    store((x[j] - mean) * scale * weight[j] + (bias == nullptr ? 0.0f : bias[j]), y + j);
}

// Products in steps of a row -> a linear layer's outputs, activated, times a second layer's.
template <int kind>
void activate_row(float* y, const float* other, int64_t n, float step, float least,
                  const float* sums, const float* bias, const float* other_sums,
                  const float* other_bias) {
  if (other == nullptr) {
#pragma omp simd
    for (int64_t j = 0; j < n; ++j) y[j] = activated<kind>(y[j] * step + least * sums[j] + bias[j]);
    return;
  }
#pragma omp simd
  for (int64_t j = 0; j < n; ++j)
    y[j] = activated<kind>(y[j] * step + least * sums[j] + bias[j]) *
           (other[j] * step + least * other_sums[j] + other_bias[j]);
}

}  // namespace

extern "C" {

// (rows, n) float32, normed unless `norm` is kNone -> bytes, (rows,) steps, (rows,) least values.
void isogloss_quantize(int64_t threads, const float* x, int64_t rows, int64_t n, int64_t norm,
                       const float* weight, const float* bias, float eps, uint8_t* high,
                       uint8_t* low, float* step, float* least) {
#pragma omp parallel num_threads(threads)
  {
    std::vector<float> normed(norm == kNone ? 0 : n);
#pragma omp for
    for (int64_t i = 0; i < rows; ++i) {
      const float* row = x + i * n;
      if (norm != kNone) {
        normalize_row(row, n, norm, weight, bias, eps, normed.data());
        row = normed.data();
      }
      quantize_row(row, n, high + i * n, low == nullptr ? nullptr : low + i * n, step + i,
                   least + i);
    }
  }
}

// (rows, n) products, and a second layer's or null -> two bytes of what is activated and
// multiplied, (rows,) steps and least values. `products` is written over.
void isogloss_activate(int64_t threads, float* products, const float* other, int64_t rows, int64_t n,
                       int64_t kind, const float* step, const float* least, const float* sums,
                       const float* bias, const float* other_sums, const float* other_bias,
                       uint8_t* high, uint8_t* low, float* step_out, float* least_out) {
#pragma omp parallel for num_threads(threads)
  for (int64_t i = 0; i < rows; ++i) {
    float* y = products + i * n;
    const float* z = other == nullptr ? nullptr : other + i * n;
    auto run = activate_row<kIdentity>;
    if (kind == kGelu) run = activate_row<kGelu>;
    if (kind == kGeluTanh) run = activate_row<kGeluTanh>;
    if (kind == kSilu) run = activate_row<kSilu>;
    if (kind == kRelu) run = activate_row<kRelu>;
    if (kind == kRelu2) run = activate_row<kRelu2>;
    run(y, z, n, step[i], least[i], sums, bias, other_sums, other_bias);
    quantize_row(y, n, high + i * n, low + i * n, step_out + i, least_out + i);
  }
}

// (rows, n) products of high bytes, of low ones or null, and a residual or null -> (rows, n).
void isogloss_add(int64_t threads, const float* high, const float* low, int64_t rows, int64_t n,
                  const float* step, const float* least, const float* sums, const float* bias,
                  const float* residual, float* y) {
#pragma omp parallel for num_threads(threads)
  for (int64_t i = 0; i < rows; ++i) {
    const bool is_low = low != nullptr, is_residual = residual != nullptr;
    const float* h = high + i * n;
    const float* l = is_low ? low + i * n : h;
    const float* r = is_residual ? residual + i * n : h;
    const float s = step[i], o = least[i], s_low = s / 256.0f;
    float* out = y + i * n;
#pragma omp simd
    for (int64_t j = 0; j < n; ++j)
      out[j] = h[j] * s + o * sums[j] + bias[j] + (is_low ? l[j] * s_low : 0.0f) +
               (is_residual ? r[j] : 0.0f);
  }
}

}  // extern "C"
