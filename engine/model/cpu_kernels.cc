// Compiled once a level: LETHE_CPU_LEVEL names it, LETHE_CPU_TABLE is the table that it fills.
#include <math.h>

#include "engine/model/cpu_kernels_internal.h"
#include "engine/model/lanes.h"

namespace lethe::cpu {
namespace LETHE_CPU_LEVEL {
namespace {

constexpr float kNever = -__builtin_inff();

template <typename X, typename Y>
void RmsNorm(const X* x, const float* weight, float eps, Y* y, float* inverse_rms, int64_t rows,
             int64_t width) {
  const int64_t whole = width / kLanes * kLanes;
  for (int64_t n = 0; n < rows; ++n, x += width, y += width) {
    Floats squares{};
    for (int64_t d = 0; d < whole; d += kLanes) {
      const Floats v = Load(x + d);
      squares += v * v;
    }
    float total = Sum(squares);
    for (int64_t d = whole; d < width; ++d) total += x[d] * x[d];
    const float scale = 1.0f / sqrtf(total / static_cast<float>(width) + eps);
    inverse_rms[n] = scale;
    for (int64_t d = 0; d < whole; d += kLanes) {
      Store(y + d, Load(x + d) * scale * Load(weight + d));
    }
    for (int64_t d = whole; d < width; ++d) y[d] = x[d] * scale * weight[d];
  }
}

// With u = x * inverse_rms: dL/dx = inverse_rms * (g w - u mean(g w u)), dL/dw = sum over rows of g
// u.
template <typename X, typename Y>
void RmsNormBackward(const Y* grad, const X* x, const float* weight, const float* inverse_rms,
                     X* grad_x, float* grad_weight, int64_t rows, int64_t width) {
  const int64_t whole = width / kLanes * kLanes;
  for (int64_t n = 0; n < rows; ++n, x += width, grad += width, grad_x += width) {
    const float scale = inverse_rms[n];
    Floats products{};
    for (int64_t d = 0; d < whole; d += kLanes) {
      products += Load(grad + d) * Load(weight + d) * Load(x + d);
    }
    float total = Sum(products);
    for (int64_t d = whole; d < width; ++d) total += grad[d] * weight[d] * x[d];
    const float pull = total * scale * scale / static_cast<float>(width);
    for (int64_t d = 0; d < whole; d += kLanes) {
      const Floats g = Load(grad + d), v = Load(x + d);
      Store(grad_x + d, scale * (g * Load(weight + d) - v * pull));
      Store(grad_weight + d, Load(grad_weight + d) + g * v * scale);
    }
    for (int64_t d = whole; d < width; ++d) {
      grad_x[d] = scale * (grad[d] * weight[d] - x[d] * pull);
      grad_weight[d] += grad[d] * x[d] * scale;
    }
  }
}

template <typename T>
void LayerNorm(const float* x, const float* weight, const float* bias, float eps, T* y, float* mean,
               float* inverse_deviation, int64_t rows, int64_t width) {
  const int64_t whole = width / kLanes * kLanes;
  const float count = static_cast<float>(width);
  for (int64_t n = 0; n < rows; ++n, x += width, y += width) {
    Floats sums{};
    for (int64_t d = 0; d < whole; d += kLanes) sums += Load(x + d);
    float total = Sum(sums);
    for (int64_t d = whole; d < width; ++d) total += x[d];
    const float middle = total / count;
    Floats squares{};
    for (int64_t d = 0; d < whole; d += kLanes) {
      const Floats v = Load(x + d) - middle;
      squares += v * v;
    }
    float spread = Sum(squares);
    for (int64_t d = whole; d < width; ++d) spread += (x[d] - middle) * (x[d] - middle);
    const float scale = 1.0f / sqrtf(spread / count + eps);
    mean[n] = middle;
    inverse_deviation[n] = scale;
    for (int64_t d = 0; d < whole; d += kLanes) {
      Store(y + d, (Load(x + d) - middle) * scale * Load(weight + d) + Load(bias + d));
    }
    for (int64_t d = whole; d < width; ++d) y[d] = (x[d] - middle) * scale * weight[d] + bias[d];
  }
}

// With u = (x - mean) * scale, scale the inverse deviation: dL/dx = scale * (g w - mean(g w) -
// u mean(g w u)), dL/dw = sum over rows of g u, dL/db = sum over rows of g.
template <typename T>
void LayerNormBackward(const T* grad, const float* x, const float* weight, const float* mean,
                       const float* inverse_deviation, float* grad_x, float* grad_weight,
                       float* grad_bias, int64_t rows, int64_t width) {
  const int64_t whole = width / kLanes * kLanes;
  const float share = 1.0f / static_cast<float>(width);
  for (int64_t n = 0; n < rows; ++n, x += width, grad += width, grad_x += width) {
    const float middle = mean[n], scale = inverse_deviation[n];
    Floats slopes{}, products{};
    for (int64_t d = 0; d < whole; d += kLanes) {
      const Floats slope = Load(grad + d) * Load(weight + d);
      slopes += slope;
      products += slope * (Load(x + d) - middle);
    }
    float slope_sum = Sum(slopes), product_sum = Sum(products);
    for (int64_t d = whole; d < width; ++d) {
      slope_sum += grad[d] * weight[d];
      product_sum += grad[d] * weight[d] * (x[d] - middle);
    }
    const float shift = slope_sum * share, pull = product_sum * scale * share;
    for (int64_t d = 0; d < whole; d += kLanes) {
      const Floats g = Load(grad + d), u = (Load(x + d) - middle) * scale;
      Store(grad_x + d, scale * (g * Load(weight + d) - shift - u * pull));
      Store(grad_weight + d, Load(grad_weight + d) + g * u);
      Store(grad_bias + d, Load(grad_bias + d) + g);
    }
    for (int64_t d = whole; d < width; ++d) {
      const float u = (x[d] - middle) * scale;
      grad_x[d] = scale * (grad[d] * weight[d] - shift - u * pull);
      grad_weight[d] += grad[d] * u;
      grad_bias[d] += grad[d];
    }
  }
}

template <typename T>
void Add(const float* x, const T* part, float* y, int64_t count) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) Store(y + i, Load(x + i) + Load(part + i));
  for (; i < count; ++i) y[i] = x[i] + part[i];
}

template <typename T>
LETHE_INLINE void LoadSome(float* lanes, const T* from, int64_t count) {
  for (int64_t i = 0; i < kLanes; ++i) lanes[i] = i < count ? static_cast<float>(from[i]) : 0.0f;
}

template <typename T>
void SwiGlu(const T* gate_up, T* y, int64_t rows, int64_t width) {
  const int64_t whole = width / kLanes * kLanes;
  for (int64_t n = 0; n < rows; ++n, gate_up += 2 * width, y += width) {
    const T* up = gate_up + width;
    for (int64_t d = 0; d < whole; d += kLanes) {
      const Floats gate = Load(gate_up + d);
      Store(y + d, gate / (1.0f + Exp(-gate)) * Load(up + d));
    }
    if (whole < width) {
      float lanes[kLanes];
      LoadSome(lanes, gate_up + whole, width - whole);
      const Floats gate = Load(lanes);
      const Floats silu = gate / (1.0f + Exp(-gate));
      for (int64_t d = whole; d < width; ++d) y[d] = silu[d - whole] * up[d];
    }
  }
}

// With s = sigmoid(gate): d silu / d gate = s (1 + gate (1 - s)).
template <typename T>
void SwiGluBackward(const T* grad, const T* gate_up, T* grad_gate_up, int64_t rows, int64_t width) {
  const int64_t whole = width / kLanes * kLanes;
  for (int64_t n = 0; n < rows;
       ++n, gate_up += 2 * width, grad_gate_up += 2 * width, grad += width) {
    const T* up = gate_up + width;
    T* grad_up = grad_gate_up + width;
    for (int64_t d = 0; d < whole; d += kLanes) {
      const Floats gate = Load(gate_up + d), g = Load(grad + d);
      const Floats s = 1.0f / (1.0f + Exp(-gate));
      Store(grad_gate_up + d, g * Load(up + d) * (s * (1.0f + gate * (1.0f - s))));
      Store(grad_up + d, g * gate * s);
    }
    if (whole < width) {
      float lanes[kLanes];
      LoadSome(lanes, gate_up + whole, width - whole);
      const Floats gate = Load(lanes);
      const Floats s = 1.0f / (1.0f + Exp(-gate));
      const Floats slope = s * (1.0f + gate * (1.0f - s)), silu = gate * s;
      for (int64_t d = whole; d < width; ++d) {
        grad_gate_up[d] = grad[d] * up[d] * slope[d - whole];
        grad_up[d] = grad[d] * silu[d - whole];
      }
    }
  }
}

// gelu(x) = x s with s = sigmoid(2 v), v = sqrt(2/pi) (x + 0.044715 x^3), since (1 + tanh v) / 2 is
// that sigmoid.
constexpr float kTwiceRoot = 1.5957691216057308f, kCubic = 0.044715f;

LETHE_INLINE Floats GeluShare(Floats x) {
  return 1.0f / (1.0f + Exp(x * (x * x * kCubic + 1.0f) * -kTwiceRoot));
}
// s + x s (1 - s) 2 v'
LETHE_INLINE Floats GeluSlope(Floats x) {
  const Floats s = GeluShare(x);
  return s + x * s * (1.0f - s) * (kTwiceRoot * (x * x * (3.0f * kCubic) + 1.0f));
}

template <typename T>
void GeluTanh(const T* x, T* y, int64_t count) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const Floats v = Load(x + i);
    Store(y + i, v * GeluShare(v));
  }
  if (i == count) return;
  float lanes[kLanes];
  LoadSome(lanes, x + i, count - i);
  const Floats v = Load(lanes), last = v * GeluShare(v);
  for (int64_t j = i; j < count; ++j) y[j] = last[j - i];
}

template <typename T>
void GeluTanhBackward(const T* grad, const T* x, T* grad_x, int64_t count) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    Store(grad_x + i, Load(grad + i) * GeluSlope(Load(x + i)));
  if (i == count) return;
  float lanes[kLanes];
  LoadSome(lanes, x + i, count - i);
  const Floats slope = GeluSlope(Load(lanes));
  for (int64_t j = i; j < count; ++j) grad_x[j] = grad[j] * slope[j - i];
}

template <typename T>
LETHE_INLINE void RotateHeads(T* head, const float* cos, const float* sin, int64_t heads,
                              int64_t head_dim, int64_t half, float direction) {
  for (int64_t n = 0; n < heads; ++n, head += head_dim) {
    for (int64_t i = 0; i < half; ++i) {
      const float a = head[i], b = head[i + half], s = sin[i] * direction;
      head[i] = a * cos[i] - b * s;
      head[i + half] = b * cos[i] + a * s;
    }
  }
}

// The same for a usual size, known to the compiler, so that the inner loop becomes lanes.
template <int64_t kHalf, typename T>
LETHE_INLINE void RotateUsual(T* head, const float* cos, const float* sin, int64_t heads,
                              int64_t head_dim, float direction) {
  if (head_dim == 2 * kHalf) {
    RotateHeads(head, cos, sin, heads, 2 * kHalf, kHalf, direction);
  } else {
    RotateHeads(head, cos, sin, heads, head_dim, kHalf, direction);
  }
}

template <typename T>
void Rotate(T* data, int64_t stride, int64_t first, int64_t rows, int64_t period, const float* cos,
            const float* sin, int64_t heads, int64_t head_dim, int64_t half, float direction) {
  int64_t at = first % period;
  for (int64_t row = 0; row < rows; ++row, data += stride) {
    const float *c = cos + at * half, *s = sin + at * half;
    switch (half) {
      case 4:
        RotateUsual<4>(data, c, s, heads, head_dim, direction);
        break;
      case 8:
        RotateUsual<8>(data, c, s, heads, head_dim, direction);
        break;
      case 16:
        RotateUsual<16>(data, c, s, heads, head_dim, direction);
        break;
      case 32:
        RotateUsual<32>(data, c, s, heads, head_dim, direction);
        break;
      case 64:
        RotateUsual<64>(data, c, s, heads, head_dim, direction);
        break;
      default:
        RotateHeads(data, c, s, heads, head_dim, half, direction);
    }
    if (++at == period) at = 0;
  }
}

// The last, incomplete sixteen of `width` numbers, filled up with -inf.
LETHE_INLINE Floats Tail(const float* numbers, int64_t width) {
  const int64_t whole = width / kLanes * kLanes;
  float tail[kLanes];
  for (int64_t i = 0; i < kLanes; ++i) {
    tail[i] = whole + i < width ? numbers[whole + i] : kNever;
  }
  return Load(tail);
}

LETHE_INLINE int64_t FirstPlaceOf(float number, const float* numbers, int64_t width) {
  for (int64_t d = 0; d < width; ++d) {
    if (numbers[d] == number) return d;
  }
  return 0;
}

// Each lane keeps its own two largest; then the lanes are merged.
LETHE_INLINE TopTwo TopTwoOf(const float* numbers, int64_t width, Floats tail) {
  Floats top = tail, below = Splat(kNever);
  for (int64_t d = 0; d + kLanes <= width; d += kLanes) {
    const Floats x = Load(numbers + d);
    below = Max(below, top < x ? top : x);
    top = Max(top, x);
  }
  TopTwo two = {.largest = Largest(top), .second = Largest(below)};
  bool seen = false;
  for (int lane = 0; lane < kLanes; ++lane) {
    const bool is_largest = !seen && top[lane] == two.largest;
    if (!is_largest && top[lane] > two.second) two.second = top[lane];
    seen |= is_largest;
  }
  two.place = FirstPlaceOf(two.largest, numbers, width);
  return two;
}

TopTwo TopTwoIn(const float* numbers, int64_t width) {
  return TopTwoOf(numbers, width, Tail(numbers, width));
}

Choice SoftmaxInPlace(float* logits, int64_t width, int64_t target) {
  const int64_t whole = width / kLanes * kLanes;
  const float wanted = logits[target];
  const Floats tail = Tail(logits, width);
  const TopTwo top = TopTwoOf(logits, width, tail);
  const float largest = top.largest;

  const Floats last = Exp(tail - largest);
  Floats total = last;
  for (int64_t d = 0; d < whole; d += kLanes) {
    const Floats e = Exp(Load(logits + d) - largest);
    Store(logits + d, e);
    total += e;
  }
  const float sum = Sum(total), share = 1.0f / sum;
  for (int64_t d = 0; d < whole; d += kLanes) Store(logits + d, Load(logits + d) * share);
  for (int64_t d = whole; d < width; ++d) logits[d] = last[d - whole] * share;
  return {.nll = logf(sum) + (largest - wanted), .top = top};
}

template <typename T>
constexpr LayerLoops<T> MakeLayerLoops() {
  return {.rms_norm = RmsNorm<float, T>,
          .rms_norm_backward = RmsNormBackward<float, T>,
          .layer_norm = LayerNorm<T>,
          .layer_norm_backward = LayerNormBackward<T>,
          .head_norm = RmsNorm<T, T>,
          .head_norm_backward = RmsNormBackward<T, T>,
          .add = Add<T>,
          .swi_glu = SwiGlu<T>,
          .swi_glu_backward = SwiGluBackward<T>,
          .gelu_tanh = GeluTanh<T>,
          .gelu_tanh_backward = GeluTanhBackward<T>,
          .rotate = Rotate<T>,
          .causal_attention = CausalAttention<T>,
          .causal_attention_backward = CausalAttentionBackward<T>};
}

}  // namespace
}  // namespace LETHE_CPU_LEVEL

// `extern`, since a constant is otherwise known in its own file only.
extern const Loops LETHE_CPU_TABLE = {
    .name = LETHE_CPU_NAME,
    .fp32 = LETHE_CPU_LEVEL::MakeLayerLoops<float>(),
    .bf16 = LETHE_CPU_LEVEL::MakeLayerLoops<Bf16>(),
    .multiply_few_rows = LETHE_CPU_LEVEL::MultiplyFewRows,
    .softmax_in_place = LETHE_CPU_LEVEL::SoftmaxInPlace,
    .top_two = LETHE_CPU_LEVEL::TopTwoIn,
    .attend_cached = LETHE_CPU_LEVEL::AttendCached,
};

}  // namespace lethe::cpu
