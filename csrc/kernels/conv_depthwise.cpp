// Depthwise convolution (one input and one output channel per group): lanes are channels, and one
// row of output pixels is computed at a time, directly from the rows of the input.
//
// Policy: taps are added in order, with fused multiply-add where the target has it; the weight
// gradient sums one output row in a register, and the sums of at most kSlots ranges of rows
// pairwise. Two rows of three weights (or sums) for two vectors of channels stay in registers while
// the pixels pass by, so that the only load of a multiply-add is its pixel. Two adjacent vectors,
// because the pixels of one are a multiple of a line apart, and such loads go one by one: 3x3 takes
// 11 cycles per vector of the output, with single vectors 15.
#include <algorithm>

#include "kernels/conv_core.h"
#include "kernels/gemm_tile.h"
#include "threads.h"

namespace babygrad::BABYGRAD_TARGET {
namespace {

constexpr std::int64_t kSlots = 16;
constexpr double kTaskWork = 250e3;  // multiply-adds
constexpr std::int64_t kPatchRows = 2, kPatchTaps = 3;

// One or two adjacent vectors.
template <class T, int Vectors>
struct Lanes {
    Vec<T> lo{}, hi{};

    BABYGRAD_INLINE void load_from(const T* p) {
        lo = load(p);
        if constexpr (Vectors > 1) hi = load(p + kLanes<T>);
    }
    BABYGRAD_INLINE void store_to(T* p) const {
        store(p, lo);
        if constexpr (Vectors > 1) store(p + kLanes<T>, hi);
    }
    BABYGRAD_INLINE void add_product(const T* x, const Lanes& w) {
        lo = fma(load(x), w.lo, lo);
        if constexpr (Vectors > 1) hi = fma(load(x + kLanes<T>), w.hi, hi);
    }
};

// Up to 2 x 3 taps.
template <class T, int Vectors, int Rows, int Taps>
struct Patch {
    Lanes<T, Vectors> v00, v01, v02, v10, v11, v12;

    template <class Fn>
    BABYGRAD_INLINE void each(const Fn& fn) {
        fn(v00, 0, 0);
        if constexpr (Taps > 1) fn(v01, 0, 1);
        if constexpr (Taps > 2) fn(v02, 0, 2);
        if constexpr (Rows > 1) fn(v10, 1, 0);
        if constexpr (Rows > 1 && Taps > 1) fn(v11, 1, 1);
        if constexpr (Rows > 1 && Taps > 2) fn(v12, 1, 2);
    }
};

// A run of output pixels of one row, whose window lies inside the image: rows x taps pixels, the
// first at x. Weights (or their gradient) are [row][tap][channel]; y is the output or its gradient.
template <class T>
struct Run {
    std::int64_t count, rows, taps;
    const T* x;
    std::int64_t x_row, x_tap, x_pixel;
    std::int64_t w_row, w_tap;
    std::int64_t y_pixel;

    // Calls fn.template operator()<Rows, Taps>(run over those taps only, whether it is the first).
    template <class Fn>
    void each_patch(const Fn& fn) const {
        for (std::int64_t i = 0; i < rows; i += kPatchRows)
            for (std::int64_t j = 0; j < taps; j += kPatchTaps) {
                const bool two = rows - i > 1;
                const std::int64_t across = std::min(kPatchTaps, taps - j);
                const auto call = [&](auto n) {
                    if (two)
                        fn(std::integral_constant<int, 2>(), n, i, j);
                    else
                        fn(std::integral_constant<int, 1>(), n, i, j);
                };
                if (across == 1)
                    call(std::integral_constant<int, 1>());
                else if (across == 2)
                    call(std::integral_constant<int, 2>());
                else
                    call(std::integral_constant<int, 3>());
            }
    }

    // y = bias (or 0) + products, for Vectors vectors of channels from c on.
    template <int Vectors>
    void forward(std::int64_t c, const T* weights, const T* bias, T* y) const {
        each_patch([&](auto patch_rows, auto patch_taps, std::int64_t i, std::int64_t j) {
            Patch<T, Vectors, patch_rows, patch_taps> w;
            w.each([&](Lanes<T, Vectors>& v, int row, int tap) {
                v.load_from(weights + (i + row) * w_row + (j + tap) * w_tap + c);
            });
            const bool first = i == 0 && j == 0;
            Lanes<T, Vectors> start;
            if (bias) start.load_from(bias + c);
            const T* pixel = x + i * x_row + j * x_tap + c;
            T* out = y + c;
            for (std::int64_t p = 0; p < count; ++p, pixel += x_pixel, out += y_pixel) {
                Lanes<T, Vectors> sum = start;
                if (!first) sum.load_from(out);
                w.each([&](Lanes<T, Vectors>& v, int row, int tap) __attribute__((always_inline)) {
                    sum.add_product(pixel + row * x_row + tap * x_tap, v);
                });
                sum.store_to(out);
            }
        });
    }

    // gw += products; of the lanes below `skip`, nothing.
    template <int Vectors>
    void grad(std::int64_t c, std::int64_t skip, const T* gy, T* gw) const {
        each_patch([&](auto patch_rows, auto patch_taps, std::int64_t i, std::int64_t j) {
            Patch<T, Vectors, patch_rows, patch_taps> sums;
            const T* pixel = x + i * x_row + j * x_tap + c;
            const T* g = gy + c;
            for (std::int64_t p = 0; p < count; ++p, pixel += x_pixel, g += y_pixel) {
                Lanes<T, Vectors> upstream;
                upstream.load_from(g);
                sums.each([&](Lanes<T, Vectors>& v, int row, int tap)
                              __attribute__((always_inline)) {
                    v.add_product(pixel + row * x_row + tap * x_tap, upstream);
                });
            }
            sums.each([&](Lanes<T, Vectors>& v, int row, int tap) {
                alignas(64) T values[Vectors * kLanes<T>];
                v.store_to(values);
                T* out = gw + (i + row) * w_row + (j + tap) * w_tap + c;
                for (std::int64_t l = skip; l < Vectors * kLanes<T>; ++l) out[l] += values[l];
            });
        });
    }

    void forward_channel(std::int64_t c, const T* weights, const T* bias, T* y) const {
        for (std::int64_t p = 0; p < count; ++p) {
            T sum = bias ? bias[c] : T(0);
            for (std::int64_t i = 0; i < rows; ++i)
                for (std::int64_t j = 0; j < taps; ++j)
                    sum += x[p * x_pixel + i * x_row + j * x_tap + c] *
                           weights[i * w_row + j * w_tap + c];
            y[p * y_pixel + c] = sum;
        }
    }
    void grad_channel(std::int64_t c, const T* gy, T* gw) const {
        for (std::int64_t i = 0; i < rows; ++i)
            for (std::int64_t j = 0; j < taps; ++j) {
                T sum = 0;
                for (std::int64_t p = 0; p < count; ++p)
                    sum += x[p * x_pixel + i * x_row + j * x_tap + c] * gy[p * y_pixel + c];
                gw[i * w_row + j * w_tap + c] += sum;
            }
    }

    // The channels after the last pair of vectors: one more vector, and one that overlaps.
    void forward_all(std::int64_t channels, const T* weights, const T* bias, T* y) const {
        constexpr std::int64_t lanes = kLanes<T>;
        std::int64_t c = 0;
        for (; c + 2 * lanes <= channels; c += 2 * lanes) forward<2>(c, weights, bias, y);
        for (; c + lanes <= channels; c += lanes) forward<1>(c, weights, bias, y);
        if (c < channels && c > 0) return forward<1>(channels - lanes, weights, bias, y);
        for (; c < channels; ++c) forward_channel(c, weights, bias, y);
    }
    void grad_all(std::int64_t channels, const T* gy, T* gw) const {
        constexpr std::int64_t lanes = kLanes<T>;
        std::int64_t c = 0;
        for (; c + 2 * lanes <= channels; c += 2 * lanes) grad<2>(c, 0, gy, gw);
        for (; c + lanes <= channels; c += lanes) grad<1>(c, 0, gy, gw);
        if (c < channels && c > 0)
            return grad<1>(channels - lanes, c - (channels - lanes), gy, gw);
        for (; c < channels; ++c) grad_channel(c, gy, gw);
    }
};

// The taps t of an axis that output o reads inside an image of n: 0 <= o * stride + first + t * step
// < n.
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

// Calls fn(run, weight offset, first output column) for the runs of one output row.
template <class T, class Fn>
void each_run(const Image<const T>& x, const TapAxis& h, const TapAxis& w, std::int64_t image,
              std::int64_t row, std::int64_t columns, std::int64_t y_pixel, const Fn& fn) {
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
                  w.step * x.stride_w, w.stride * x.stride_w, w.taps * x.c, x.c, y_pixel},
           (rows.begin * w.taps + taps.begin) * x.c, o);
        o += count;
    }
}

}  // namespace

template <class T>
void depthwise_conv(const IndirectConv<T>& conv) {
    const Image<T>& y = conv.y;
    const std::int64_t channels = y.c, taps = conv.h.taps * conv.w.taps;
    Workspace space(static_cast<std::size_t>((taps + 1) * channels) * sizeof(T));
    T* weights = space.as<T>();
    for (std::int64_t t = 0; t < taps; ++t)
        for (std::int64_t c = 0; c < channels; ++c)
            weights[t * channels + c] =
                conv.weights.data[t / conv.w.taps * conv.weights.tap_h +
                                  t % conv.w.taps * conv.weights.tap_w + c * conv.weights.group];
    const double row_work = static_cast<double>((taps + 1) * channels * (y.w + 1));
    parallel_ranges(y.n * y.h, 1 + static_cast<std::int64_t>(kTaskWork / row_work),
                    [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
            T* out = y.data + i / y.h * y.stride_n + i % y.h * y.stride_h;
            each_run(conv.x, conv.h, conv.w, i / y.h, i % y.h, y.w, y.stride_w,
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
    const std::int64_t channels = gy.c, taps = conv.h.taps * conv.w.taps, size = taps * channels;
    const std::int64_t rows = gy.n * gy.h;
    const double row_work = static_cast<double>(size) * static_cast<double>(gy.w + 1);
    const std::int64_t slots = std::clamp<std::int64_t>(
        static_cast<std::int64_t>(row_work * static_cast<double>(rows) / kTaskWork), 1,
        std::max<std::int64_t>(1, std::min(kSlots, rows)));
    const std::int64_t range = ceil_div(rows, slots);
    Workspace space(static_cast<std::size_t>(slots * size) * sizeof(T));
    T* sums = space.as<T>();
    parallel_for(slots, [&](std::int64_t slot) {
        T* gw = sums + slot * size;
        std::fill_n(gw, size, T(0));
        const std::int64_t end = std::min(rows, (slot + 1) * range);
        for (std::int64_t i = slot * range; i < end; ++i) {
            const T* in = gy.data + i / gy.h * gy.stride_n + i % gy.h * gy.stride_h;
            each_run(conv.x, conv.h, conv.w, i / gy.h, i % gy.h, gy.w, gy.stride_w,
                     [&](const Run<T>& run, std::int64_t weight, std::int64_t column) {
                run.grad_all(channels, in + column * gy.stride_w, gw + weight);
            });
        }
    });
    for (std::int64_t step = 1; step < slots; step *= 2)
        for (std::int64_t s = 0; s + step < slots; s += 2 * step)
            for (std::int64_t i = 0; i < size; ++i)
                sums[s * size + i] += sums[(s + step) * size + i];
    for (std::int64_t t = 0; t < taps; ++t)
        for (std::int64_t c = 0; c < channels; ++c)
            conv.gw.data[t / conv.w.taps * conv.gw.tap_h + t % conv.w.taps * conv.gw.tap_w +
                         c * conv.gw.group] = sums[t * channels + c];
}

template void depthwise_conv(const IndirectConv<float>&);
template void depthwise_conv(const IndirectConv<double>&);
template void depthwise_weight_grad(const IndirectWeightGrad<float>&);
template void depthwise_weight_grad(const IndirectWeightGrad<double>&);

}  // namespace babygrad::BABYGRAD_TARGET
