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

// Attention reads keys and writes products in pieces of this many columns, of this many queries.
constexpr int64_t kColumns = 32, kQueries = 4;
constexpr int64_t kAhead = 8;  // rows
typedef float Vector __attribute__((vector_size(64), aligned(4), may_alias));

inline int64_t rounded_up(int64_t n) { return (n + kColumns - 1) / kColumns * kColumns; }

// c (kQueries, n) = a (kQueries, k) b (k, n); n is a multiple of kColumns.
void multiply(const float* a, int64_t a_width, const float* b, int64_t b_width, float* c,
              int64_t c_width, int64_t k, int64_t n) {
  for (int64_t j = 0; j < n; j += kColumns) {
    Vector sums[kQueries][2] = {};
    for (int64_t p = 0; p < k; ++p) {
      const Vector* row = reinterpret_cast<const Vector*>(b + p * b_width + j);
      for (int64_t i = 0; i < kQueries; ++i) {
        sums[i][0] += a[i * a_width + p] * row[0];
        sums[i][1] += a[i * a_width + p] * row[1];
      }
    }
    for (int64_t i = 0; i < kQueries; ++i) {
      Vector* row = reinterpret_cast<Vector*>(c + i * c_width + j);
      row[0] = sums[i][0];
      row[1] = sums[i][1];
    }
  }
}

// Scores of keys [0, n) of which a query sees [begin, end) -> their exponentials, 0 elsewhere; what
// is returned makes weights of them.
float exponentials(float* scores, int64_t n, int64_t begin, int64_t end, float slope) {
  float most = -std::numeric_limits<float>::infinity(), sum = 0.0f;
#pragma omp simd reduction(max : most)
  for (int64_t j = begin; j < end; ++j) {
    scores[j] += slope * float(j - end + 1);
    most = scores[j] > most ? scores[j] : most;
  }
#pragma omp simd reduction(+ : sum)
  for (int64_t j = begin; j < end; ++j) {
    scores[j] = exponential(scores[j] - most);
    sum += scores[j];
  }
  for (int64_t j = 0; j < begin; ++j) scores[j] = 0.0f;
  for (int64_t j = end; j < n; ++j) scores[j] = 0.0f;
  return 1.0f / sum;
}

// Rows of the packed projection that attend to one another: `count` of them from `own` on, behind
// the first `trunk` rows from `start` on.
struct Span {
  int64_t start, trunk, own, count;
};

struct Heads {
  int64_t queries, keys, size;
  int64_t width() const { return (queries + 2 * keys) * size; }
};

template <typename T>
struct Attention {
  const T* qkv;
  const Heads heads;
  const float* slopes;
  const int64_t window;
  T* mixed;
  std::vector<float> keys, values, asked, scores, sums;

  // All heads of queries that share one of keys.
  void run(const Span& span, int64_t key_head) {
    const int64_t n = span.trunk + span.count, padded = rounded_up(n);
    load(span, key_head, n, padded);
    scores.resize(kQueries * padded);
    const int64_t group = heads.queries / heads.keys;
    for (int64_t head = key_head * group; head < (key_head + 1) * group; ++head)
      for (int64_t first = 0; first < span.count; first += kQueries)
        attend(span, head, first, padded);
  }

  // Keys as columns, values as rows, filled up with zeros. A row is thousands of bytes after the
  // one before: the processor does not foresee that, and so is told.
  void load(const Span& span, int64_t head, int64_t n, int64_t padded) {
    const int64_t size = heads.size, wide = rounded_up(size);
    keys.resize(size * padded);
    values.resize(padded * wide);
    const auto key_of = [&](int64_t j) {
      const int64_t row = j < span.trunk ? span.start + j : span.own + j - span.trunk;
      return qkv + row * heads.width() + (heads.queries + head) * size;
    };
    for (int64_t j = 0; j < n; ++j) {
      const T *key = key_of(j), *value = key + heads.keys * size;
      const T* later = key_of(j + kAhead < n ? j + kAhead : n - 1);
      for (int64_t d = 0; d < size; d += 64 / int64_t(sizeof(T))) {
        __builtin_prefetch(later + d);
        __builtin_prefetch(later + heads.keys * size + d);
      }
      for (int64_t d = 0; d < size; ++d) keys[d * padded + j] = to_float(key[d]);
      float* to = values.data() + j * wide;
      for (int64_t d = 0; d < size; ++d) to[d] = to_float(value[d]);
      for (int64_t d = size; d < wide; ++d) to[d] = 0.0f;
    }
    for (int64_t d = 0; d < size; ++d)
      for (int64_t j = n; j < padded; ++j) keys[d * padded + j] = 0.0f;
    for (int64_t j = n * wide; j < padded * wide; ++j) values[j] = 0.0f;
  }

  // A block of one head's queries.
  void attend(const Span& span, int64_t head, int64_t first, int64_t padded) {
    const int64_t size = heads.size, wide = rounded_up(size);
    const int64_t rows = span.count - first < kQueries ? span.count - first : kQueries;
    const int64_t seen = rounded_up(span.trunk + first + rows);
    const float scale = 1.0f / std::sqrt(float(size));
    asked.assign(kQueries * size, 0.0f);
    sums.resize(kQueries * wide);
    for (int64_t i = 0; i < rows; ++i) {
      const T* query = qkv + (span.own + first + i) * heads.width() + head * size;
      for (int64_t d = 0; d < size; ++d) asked[i * size + d] = to_float(query[d]) * scale;
    }
    multiply(asked.data(), size, keys.data(), padded, scores.data(), padded, size, seen);
    float shares[kQueries] = {};
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t end = span.trunk + first + i + 1;
      const int64_t begin = window > 0 && end > window ? end - window : 0;
      shares[i] = exponentials(scores.data() + i * padded, seen, begin, end,
                               slopes == nullptr ? 0.0f : slopes[head]);
    }
    multiply(scores.data(), padded, values.data(), wide, sums.data(), wide, seen, wide);
    for (int64_t i = 0; i < rows; ++i) {
      T* to = mixed + ((span.own + first + i) * heads.queries + head) * size;
      for (int64_t d = 0; d < size; ++d) store(sums[i * wide + d] * shares[i], to + d);
    }
  }
};

template <typename T>
void attend_all(int64_t threads, const T* qkv, const Span* spans, int64_t count, Heads heads,
                const float* slopes, int64_t window, T* mixed) {
#pragma omp parallel num_threads(threads)
  {
    Attention<T> own{qkv, heads, slopes, window, mixed, {}, {}, {}, {}, {}};
#pragma omp for schedule(dynamic)
    for (int64_t each = 0; each < count * heads.keys; ++each)
      own.run(spans[each / heads.keys], each % heads.keys);
  }
}

}  // namespace

extern "C" {

// Causal attention of (rows, projection) over spans (count, 4) -> (rows, queries x size). `slopes`
// (queries,) are ALiBi's or null; a token sees a window of positions, or all if that is 0.
void isogloss_attend(int64_t threads, const void* qkv, int64_t is_bfloat16, const void* spans,
                     int64_t count, int64_t queries, int64_t keys, int64_t size,
                     const float* slopes, int64_t window, void* mixed) {
  const Heads heads{queries, keys, size};
  const Span* all = static_cast<const Span*>(spans);
  if (is_bfloat16)
    attend_all(threads, static_cast<const bfloat16*>(qkv), all, count, heads, slopes, window,
               static_cast<bfloat16*>(mixed));
  else
    attend_all(threads, static_cast<const float*>(qkv), all, count, heads, slopes, window,
               static_cast<float*>(mixed));
}

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
