// Depthwise convolution (one input and one output channel per group): lanes are channels, and one
// row of output pixels is computed at a time, directly from the rows of the input.
//
// Policy: taps are added column by column, in patches of up to 3 x 3, with fused multiply-add where
// the target has it; the weight gradient sums one output row, then the rows of each of at most
// kSlots ranges, and those pairwise. Four pixels and a patch are computed at a time, all channels
// in turn: a pixel and a weight are loaded once for four outputs, memory is read in runs, and
// nothing but the channels loops. On Zen 3, 3x3 and 128 channels take 0.6 of the time that whole
// rows took, one vector of channels at a time.
#include <algorithm>
#include <utility>

#include "kernels/conv/conv_core.h"
#include "kernels/gemm/gemm_tile.h"
#include "runtime/threads.h"

namespace babygrad::BABYGRAD_TARGET {
namespace {

constexpr std::int64_t kSlots = 16;
constexpr double kTaskWork = 250e3;  // multiply-adds
constexpr int kPatch = 3;            // rows and columns of taps
constexpr int kPixels = 4;           // outputs

// Keeps the compiler from computing all addresses before a loop, more than there are registers for.
#define BABYGRAD_OPAQUE(pointer) asm("" : "+r"(pointer))

// Calls fn(0), ..., fn(N - 1) with constants, as straight code: arrays stay in registers.
template <int... I, class Fn>
BABYGRAD_INLINE void unroll(std::integer_sequence<int, I...>, const Fn& fn) {
    (fn(std::integral_constant<int, I>()), ...);
}
template <int N, class Fn>
BABYGRAD_INLINE void unroll(const Fn& fn) {
    unroll(std::make_integer_sequence<int, N>(), fn);
}

// A run of output pixels of one row, whose window lies inside the image: rows x taps pixels, the
// first at x. Weights (or their gradient) are [row][tap][channel]; y is the output or its gradient.
template <class T>
struct Run {
    std::int64_t count, rows, taps;
    const T* x;
    std::int64_t x_row, x_tap, x_pixel;
    std::int64_t w_row, w_tap;
    std::int64_t y_pixel;

    // Calls fn(rows, taps, first row, first tap) for the patches, their sizes as constants.
    template <class Fn>
    void each_patch(const Fn& fn) const {
        const auto constant = [](std::int64_t n, const auto& call) {
            if (n == 1)
                call(std::integral_constant<int, 1>());
            else if (n == 2)
                call(std::integral_constant<int, 2>());
            else
                call(std::integral_constant<int, kPatch>());
        };
        for (std::int64_t i = 0; i < rows; i += kPatch)
            for (std::int64_t j = 0; j < taps; j += kPatch)
                constant(rows - i, [&](auto down) {
                    constant(taps - j, [&](auto across) { fn(down, across, i, j); });
                });
    }

    // Calls fn(how many, whether a tap further is a pixel further, first pixel, last pixel).
    template <class Fn>
    BABYGRAD_INLINE void each_pixels(const Fn& fn) const {
        const std::int64_t whole = count / kPixels * kPixels;
        if (x_tap == x_pixel)
            fn(std::integral_constant<int, kPixels>(), std::true_type(), 0, whole);
        else
            fn(std::integral_constant<int, kPixels>(), std::false_type(), 0, whole);
        fn(std::integral_constant<int, 1>(), std::false_type(), whole, count);
    }

    // Calls fn(pixel value, row, tap, output) for the products of a patch, column by column.
    template <int Rows, int Taps, int Pixels, bool Sliding, class Fn>
    BABYGRAD_INLINE void each_product(const T* at, const Fn& fn) const {
        if constexpr (Sliding)
            unroll<Pixels + Taps - 1>([&](auto column) __attribute__((always_inline)) {
                const T* pixel = at;
                unroll<Rows>([&](auto row) __attribute__((always_inline)) {
                    const Vec<T> v = load(pixel);
                    pixel += x_row;
                    unroll<Pixels>([&](auto p) __attribute__((always_inline)) {
                        if constexpr (column - p >= 0 && column - p < Taps)
                            fn(v, row, std::integral_constant<int, column - p>(), p);
                    });
                });
                at += x_pixel;
                BABYGRAD_OPAQUE(at);
            });
        else
            unroll<Taps>([&](auto tap) __attribute__((always_inline)) {
                unroll<Rows>([&](auto row) __attribute__((always_inline)) {
                    const T* pixel = at + row * x_row;
                    unroll<Pixels>([&](auto p) __attribute__((always_inline)) {
                        fn(load(pixel), row, tap, p);
                        pixel += x_pixel;
                    });
                });
                at += x_tap;
                BABYGRAD_OPAQUE(at);
            });
    }

    // Calls fn(pointer, row, tap) for the weights of a patch.
    template <int Rows, int Taps, class W, class Fn>
    BABYGRAD_INLINE void each_tap(W* at, const Fn& fn) const {
        unroll<Rows>([&](auto row) __attribute__((always_inline)) {
            W* w = at;
            unroll<Taps>([&](auto tap) __attribute__((always_inline)) {
                fn(w, row, tap);
                w += w_tap;
            });
            at += w_row;
            BABYGRAD_OPAQUE(at);
        });
    }

    // y = bias (or 0) + products, for the vectors of channels [begin, end).
    void forward(std::int64_t begin, std::int64_t end, const T* weights, const T* bias,
                 T* y) const {
        each_patch([&](auto down, auto across, std::int64_t i, std::int64_t j) {
            const T* w = weights + i * w_row + j * w_tap;
            const T* pixel = x + i * x_row + j * x_tap;
            each_pixels([&](auto pixels, auto sliding, std::int64_t p, std::int64_t last) {
                for (; p < last; p += pixels)
                    forward_patch<down, across, pixels, sliding>(
                        begin, end, w, bias, i + j == 0, pixel + p * x_pixel, y + p * y_pixel);
            });
        });
    }

    template <int Rows, int Taps, int Pixels, bool Sliding>
    __attribute__((noinline)) void forward_patch(std::int64_t begin, std::int64_t end,
                                                 const T* weights, const T* bias, bool first,
                                                 const T* pixel, T* out) const {
        const Run run = *this;
        for (std::int64_t c = begin; c < end; c += kLanes<T>) {
            Vec<T> w[Rows][Taps], sums[Pixels];
            const Vec<T> start = first && bias ? load(bias + c) : Vec<T>{};
            unroll<Pixels>([&](auto p) __attribute__((always_inline)) {
                sums[p] = first ? start : load(out + p * run.y_pixel + c);
            });
            run.template each_tap<Rows, Taps>(
                weights + c, [&](const T* from, auto row, auto tap)
                                 __attribute__((always_inline)) { w[row][tap] = load(from); });
            run.template each_product<Rows, Taps, Pixels, Sliding>(
                pixel + c, [&](const Vec<T>& v, auto row, auto tap, auto p)
                               __attribute__((always_inline)) {
                    sums[p] = fma(v, w[row][tap], sums[p]);
                });
            unroll<Pixels>([&](auto p) __attribute__((always_inline)) {
                store(out + p * run.y_pixel + c, sums[p]);
            });
        }
    }

    // gw += products, for the vectors of channels [begin, end).
    void grad(std::int64_t begin, std::int64_t end, const T* gy, T* gw) const {
        each_patch([&](auto down, auto across, std::int64_t i, std::int64_t j) {
            T* w = gw + i * w_row + j * w_tap;
            const T* pixel = x + i * x_row + j * x_tap;
            each_pixels([&](auto pixels, auto sliding, std::int64_t p, std::int64_t last) {
                for (; p < last; p += pixels)
                    grad_patch<down, across, pixels, sliding>(begin, end, gy + p * y_pixel,
                                                              pixel + p * x_pixel, w);
            });
        });
    }

    template <int Rows, int Taps, int Pixels, bool Sliding>
    __attribute__((noinline)) void grad_patch(std::int64_t begin, std::int64_t end, const T* gy,
                                              const T* pixel, T* gw) const {
        const Run run = *this;
        for (std::int64_t c = begin; c < end; c += kLanes<T>) {
            Vec<T> sums[Rows][Taps], g[Pixels];
            unroll<Pixels>([&](auto p) __attribute__((always_inline)) {
                g[p] = load(gy + p * run.y_pixel + c);
            });
            run.template each_tap<Rows, Taps>(
                gw + c, [&](const T* from, auto row, auto tap)
                            __attribute__((always_inline)) { sums[row][tap] = load(from); });
            run.template each_product<Rows, Taps, Pixels, Sliding>(
                pixel + c, [&](const Vec<T>& v, auto row, auto tap, auto p)
                               __attribute__((always_inline)) {
                    sums[row][tap] = fma(v, g[p], sums[row][tap]);
                });
            run.template each_tap<Rows, Taps>(
                gw + c, [&](T* to, auto row, auto tap)
                            __attribute__((always_inline)) { store(to, sums[row][tap]); });
        }
    }

    void forward_channel(std::int64_t c, const T* weights, const T* bias, T* y) const {
        for (std::int64_t p = 0; p < count; ++p) {
            T sum = bias ? bias[c] : T(0);
            for (std::int64_t j = 0; j < taps; ++j)
                for (std::int64_t i = 0; i < rows; ++i)
                    sum += x[p * x_pixel + i * x_row + j * x_tap + c] *
                           weights[i * w_row + j * w_tap + c];
            y[p * y_pixel + c] = sum;
        }
    }
    void grad_channel(std::int64_t c, const T* gy, T* gw) const {
        for (std::int64_t j = 0; j < taps; ++j)
            for (std::int64_t i = 0; i < rows; ++i)
                for (std::int64_t p = 0; p < count; ++p)
                    gw[i * w_row + j * w_tap + c] +=
                        x[p * x_pixel + i * x_row + j * x_tap + c] * gy[p * y_pixel + c];
    }

    // The channels after the last vector: one that overlaps.
    void forward_all(std::int64_t channels, const T* weights, const T* bias, T* y) const {
        constexpr std::int64_t lanes = kLanes<T>;
        const std::int64_t whole = channels / lanes * lanes;
        forward(0, whole, weights, bias, y);
        if (whole < channels && whole > 0)
            return forward(channels - lanes, channels, weights, bias, y);
        for (std::int64_t c = whole; c < channels; ++c) forward_channel(c, weights, bias, y);
    }
    // The sums of that vector lie behind the whole ones (tap_pitch), or they would count twice.
    void grad_all(std::int64_t channels, const T* gy, T* gw) const {
        constexpr std::int64_t lanes = kLanes<T>;
        const std::int64_t whole = channels / lanes * lanes;
        grad(0, whole, gy, gw);
        if (whole < channels && whole > 0)
            return grad(channels - lanes, channels, gy, gw + w_tap - channels);
        for (std::int64_t c = whole; c < channels; ++c) grad_channel(c, gy, gw);
    }
    // An odd number of cache lines: taps 2 KB apart would fall into one place of the cache, and
    // their sums seem to be the pixels just read; of 512 channels that took twice the time.
    static std::int64_t tap_pitch(std::int64_t channels) {
        constexpr std::int64_t unit = 64 / sizeof(T);
        return channels < kLanes<T> ? channels : (ceil_div(channels, unit) | 1) * unit;
    }
};

// The taps t of an axis that output o reads inside an image of n:
// 0 <= o * stride + first + t * step < n.
struct TapRange {
    std::int64_t begin, end;
};
TapRange taps_inside(const TapAxis& axis, std::int64_t o, std::int64_t n) {
    const std::int64_t at = o * axis.stride + axis.first;
    const std::int64_t step = std::max<std::int64_t>(axis.step, 1);
    const std::int64_t begin = at < 0 ? ceil_div(-at, step) : 0;
    const std::int64_t end = at < n ? std::min(axis.taps, ceil_div(n - at, step)) : 0;
    return {begin, std::max(begin, end)};
}

// Calls fn(run, weight offset, first output column) for the runs of one output row; the weights of
// two taps are `pitch` apart.
template <class T, class Fn>
void each_run(const Image<const T>& x, const TapAxis& h, const TapAxis& w, std::int64_t image,
              std::int64_t row, std::int64_t columns, std::int64_t y_pixel, std::int64_t pitch,
              const Fn& fn) {
    const TapRange rows = taps_inside(h, row, x.h);
    const T* base = x.data + image * x.stride_n + (row * h.stride + h.first) * x.stride_h;
    for (std::int64_t o = 0; o < columns;) {
        const TapRange taps = taps_inside(w, o, x.w);
        const std::int64_t at = o * w.stride + w.first;
        std::int64_t count = 1;
        if (taps.begin == 0 && taps.end == w.taps && w.taps > 0)
            count = std::min(columns - o, (x.w - 1 - at - (w.taps - 1) * w.step) / w.stride + 1);
        const T* first = base + rows.begin * h.step * x.stride_h +
                         (at + taps.begin * w.step) * x.stride_w;
        fn(Run<T>{count, rows.end - rows.begin, taps.end - taps.begin, first, h.step * x.stride_h,
                  w.step * x.stride_w, w.stride * x.stride_w, w.taps * pitch, pitch, y_pixel},
           (rows.begin * w.taps + taps.begin) * pitch, o);
        o += count;
    }
}

}  // namespace

template <class T>
void depthwise_conv(const ConvProblem<T>& conv) {
    const Image<T>& y = conv.y;
    const std::int64_t channels = y.c, pitch = Run<T>::tap_pitch(channels);
    const std::int64_t taps = conv.h.taps * conv.w.taps;
    Workspace space(static_cast<std::size_t>(taps * pitch) * sizeof(T));
    T* weights = space.as<T>();
    for (std::int64_t t = 0; t < taps; ++t)
        for (std::int64_t c = 0; c < channels; ++c)
            weights[t * pitch + c] =
                conv.weights.data[t / conv.w.taps * conv.weights.tap_h +
                                  t % conv.w.taps * conv.weights.tap_w + c * conv.weights.group];
    const double row_work = static_cast<double>((taps + 1) * channels * (y.w + 1));
    parallel_ranges(y.n * y.h, 1 + static_cast<std::int64_t>(kTaskWork / row_work),
                    [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
            T* out = y.data + i / y.h * y.stride_n + i % y.h * y.stride_h;
            each_run(conv.x, conv.h, conv.w, i / y.h, i % y.h, y.w, y.stride_w, pitch,
                     [&](const Run<T>& run, std::int64_t weight, std::int64_t column) {
                T* first = out + column * y.stride_w;
                if (run.rows > 0 && run.taps > 0)
                    return run.forward_all(channels, weights + weight, conv.bias, first);
                for (std::int64_t p = 0; p < run.count; ++p)
                    for (std::int64_t c = 0; c < channels; ++c)
                        first[p * y.stride_w + c] = conv.bias ? conv.bias[c] : T(0);
            });
        }
    });
}

template <class T>
void depthwise_weight_grad(const IndirectWeightGrad<T>& conv) {
    const Image<const T>& gy = conv.gy;
    const std::int64_t channels = gy.c, pitch = Run<T>::tap_pitch(channels);
    const std::int64_t taps = conv.h.taps * conv.w.taps, size = taps * pitch;
    const std::int64_t rows = gy.n * gy.h;
    const double row_work = static_cast<double>(size) * static_cast<double>(gy.w + 1);
    const std::int64_t slots = std::clamp<std::int64_t>(
        static_cast<std::int64_t>(row_work * static_cast<double>(rows) / kTaskWork), 1,
        std::max<std::int64_t>(1, std::min(kSlots, rows)));
    const std::int64_t range = ceil_div(rows, slots);
    Workspace space(static_cast<std::size_t>(2 * slots * size) * sizeof(T));
    T* sums = space.as<T>();
    parallel_for(slots, [&](std::int64_t slot) {
        T *gw = sums + slot * size, *line = gw + slots * size;
        std::fill_n(gw, size, T(0));
        const std::int64_t end = std::min(rows, (slot + 1) * range);
        for (std::int64_t i = slot * range; i < end; ++i) {
            std::fill_n(line, size, T(0));
            const T* in = gy.data + i / gy.h * gy.stride_n + i % gy.h * gy.stride_h;
            each_run(conv.x, conv.h, conv.w, i / gy.h, i % gy.h, gy.w, gy.stride_w, pitch,
                     [&](const Run<T>& run, std::int64_t weight, std::int64_t column) {
                run.grad_all(channels, in + column * gy.stride_w, line + weight);
            });
            for (std::int64_t k = 0; k < size; ++k) gw[k] += line[k];
        }
    });
    for (std::int64_t step = 1; step < slots; step *= 2)
        for (std::int64_t s = 0; s + step < slots; s += 2 * step)
            for (std::int64_t i = 0; i < size; ++i)
                sums[s * size + i] += sums[(s + step) * size + i];
    const std::int64_t whole = channels / kLanes<T> * kLanes<T>;
    for (std::int64_t t = 0; t < taps; ++t)
        for (std::int64_t c = 0; c < channels; ++c)
            conv.gw.data[t / conv.w.taps * conv.gw.tap_h + t % conv.w.taps * conv.gw.tap_w +
                         c * conv.gw.group] =
                sums[t * pitch + c + (c < whole ? 0 : pitch - channels)];
}

template void depthwise_conv(const ConvProblem<float>&);
template void depthwise_conv(const ConvProblem<double>&);
template void depthwise_weight_grad(const IndirectWeightGrad<float>&);
template void depthwise_weight_grad(const IndirectWeightGrad<double>&);

}  // namespace babygrad::BABYGRAD_TARGET
