// Depthwise convolution (one input and one output channel per group): lanes are channels.
//
// Policy: taps are added in order, with fused multiply-add where the target has it; the weight
// gradient sums kInnerPixels pixels in a register and the partial sums of at most kSlots ranges of
// pixels pairwise. It is bound by loads (a pointer and a vector per multiply-add), which eight
// pixels that share each weight bring down to about half of the peak.
#include <algorithm>

#include "kernels/conv_core.h"
#include "kernels/gemm_tile.h"
#include "threads.h"

namespace babygrad::BABYGRAD_TARGET {
namespace {

constexpr std::int64_t kInnerPixels = 256;
constexpr std::int64_t kSlots = 16;
constexpr double kTaskWork = 250e3;  // multiply-adds

// Calls fn(channel) for vectors that cover [0, channels), the last one overlapping; and
// scalar(channel) where there is not even one.
template <class T, class Fn, class Scalar>
inline void each_vector(std::int64_t channels, const Fn& fn, const Scalar& scalar) {
    if (channels < kLanes<T>) {
        for (std::int64_t c = 0; c < channels; ++c) scalar(c);
        return;
    }
    for (std::int64_t c = 0; c + kLanes<T> <= channels; c += kLanes<T>) fn(c);
    if (channels % kLanes<T>) fn(channels - kLanes<T>);
}

// Window pieces hold one or more taps, `channels` apart; the weights are [tap][channel] too.
template <class T>
struct DepthwiseBlock {
    const WindowTable<T>& table;
    std::int64_t segments, length, channels;
    const T* weights;
    const T* bias;
    T* const* y;

    void eight_pixels(std::int64_t i, std::int64_t c) const {
        const Vec<T> start = bias ? load(bias + c) : Vec<T>{};
        Vec<T> y0 = start, y1 = start, y2 = start, y3 = start;
        Vec<T> y4 = start, y5 = start, y6 = start, y7 = start;
        const T* weight = weights + c;
        for (std::int64_t s = 0; s < segments; ++s) {
            const T* const* x = table.at(s) + i;
            for (std::int64_t k = c; k < length; k += channels, weight += channels) {
                const Vec<T> w = load(weight);
                y0 = fma(load(x[0] + k), w, y0);
                y1 = fma(load(x[1] + k), w, y1);
                y2 = fma(load(x[2] + k), w, y2);
                y3 = fma(load(x[3] + k), w, y3);
                y4 = fma(load(x[4] + k), w, y4);
                y5 = fma(load(x[5] + k), w, y5);
                y6 = fma(load(x[6] + k), w, y6);
                y7 = fma(load(x[7] + k), w, y7);
            }
        }
        store(y[i] + c, y0);
        store(y[i + 1] + c, y1);
        store(y[i + 2] + c, y2);
        store(y[i + 3] + c, y3);
        store(y[i + 4] + c, y4);
        store(y[i + 5] + c, y5);
        store(y[i + 6] + c, y6);
        store(y[i + 7] + c, y7);
    }

    void one_pixel(std::int64_t i, std::int64_t c) const {
        Vec<T> sum = bias ? load(bias + c) : Vec<T>{};
        const T* weight = weights + c;
        for (std::int64_t s = 0; s < segments; ++s)
            for (std::int64_t k = c; k < length; k += channels, weight += channels)
                sum = fma(load(table.at(s)[i] + k), load(weight), sum);
        store(y[i] + c, sum);
    }

    void one_value(std::int64_t i, std::int64_t c) const {
        T sum = bias ? bias[c] : T(0);
        const T* weight = weights + c;
        for (std::int64_t s = 0; s < segments; ++s)
            for (std::int64_t k = c; k < length; k += channels, weight += channels)
                sum += table.at(s)[i][k] * *weight;
        y[i][c] = sum;
    }

    void run(std::int64_t count) const {
        std::int64_t i = 0;
        for (; i + 8 <= count; i += 8)
            each_vector<T>(
                channels, [&](std::int64_t c) { eight_pixels(i, c); },
                [&](std::int64_t c) {
                    for (int p = 0; p < 8; ++p) one_value(i + p, c);
                });
        for (; i < count; ++i)
            each_vector<T>(
                channels, [&](std::int64_t c) { one_pixel(i, c); },
                [&](std::int64_t c) { one_value(i, c); });
    }
};

template <class T>
struct DepthwiseGradBlock {
    const WindowTable<T>& table;
    const T* const* gy;
    std::int64_t count, segments, length, channels;

    // Adds the products of Taps taps of one piece, from its k-th element on, to gw.
    template <int Taps>
    void some_taps(const T* const* x, std::int64_t k, std::int64_t c, T* gw) const {
        Vec<T> s0{}, s1{}, s2{}, s3{}, s4{};
        for (std::int64_t i = 0; i < count; ++i) {
            const Vec<T> g = load(gy[i] + c);
            const T* piece = x[i] + k;
            s0 = fma(load(piece), g, s0);
            if constexpr (Taps > 1) s1 = fma(load(piece + channels), g, s1);
            if constexpr (Taps > 2) s2 = fma(load(piece + 2 * channels), g, s2);
            if constexpr (Taps > 3) s3 = fma(load(piece + 3 * channels), g, s3);
            if constexpr (Taps > 4) s4 = fma(load(piece + 4 * channels), g, s4);
        }
        store(gw, load(gw) + s0);
        if constexpr (Taps > 1) store(gw + channels, load(gw + channels) + s1);
        if constexpr (Taps > 2) store(gw + 2 * channels, load(gw + 2 * channels) + s2);
        if constexpr (Taps > 3) store(gw + 3 * channels, load(gw + 3 * channels) + s3);
        if constexpr (Taps > 4) store(gw + 4 * channels, load(gw + 4 * channels) + s4);
    }

    void one_channel(std::int64_t c, T* gw) const {
        for (std::int64_t s = 0; s < segments; ++s)
            for (std::int64_t k = c; k < length; k += channels) {
                T sum = 0;
                for (std::int64_t i = 0; i < count; ++i) sum += table.at(s)[i][k] * gy[i][c];
                gw[s * length + k] += sum;
            }
    }

    void vector(std::int64_t c, T* gw) const {
        for (std::int64_t s = 0; s < segments; ++s)
            for (std::int64_t k = c; k < length;) {
                const std::int64_t left = (length - k + channels - 1) / channels;
                const std::int64_t taps = left < 5 ? left : 5;
                T* out = gw + s * length + k;
                switch (taps) {
                    case 5: some_taps<5>(table.at(s), k, c, out); break;
                    case 4: some_taps<4>(table.at(s), k, c, out); break;
                    case 3: some_taps<3>(table.at(s), k, c, out); break;
                    case 2: some_taps<2>(table.at(s), k, c, out); break;
                    default: some_taps<1>(table.at(s), k, c, out); break;
                }
                k += taps * channels;
            }
    }

    // The last vector of channels overlaps the one before: its lanes are summed beside `gw`.
    void run(T* gw, T* overlap) const {
        if (channels < kLanes<T>) {
            for (std::int64_t c = 0; c < channels; ++c) one_channel(c, gw);
            return;
        }
        const std::int64_t whole = channels / kLanes<T> * kLanes<T>;
        for (std::int64_t c = 0; c < whole; c += kLanes<T>) vector(c, gw);
        if (whole == channels) return;
        vector(channels - kLanes<T>, overlap);
        for (std::int64_t k = 0; k < segments * length; k += channels)
            for (std::int64_t c = whole; c < channels; ++c) gw[k + c] = overlap[k + c];
    }
};

}  // namespace

template <class T>
void depthwise_conv(const IndirectConv<T>& conv) {
    const std::int64_t channels = conv.y.c;
    const Windows<T> windows(conv.x, conv.h, conv.w, conv.y.h, conv.y.w, 1);
    const std::int64_t taps = conv.h.taps * conv.w.taps, pixels = windows.pixels();
    Workspace weight_space(static_cast<std::size_t>(taps * channels) * sizeof(T));
    T* weights = weight_space.as<T>();
    for (std::int64_t t = 0; t < taps; ++t)
        for (std::int64_t c = 0; c < channels; ++c)
            weights[t * channels + c] =
                conv.weights.data[t / conv.w.taps * conv.weights.tap_h +
                                  t % conv.w.taps * conv.weights.tap_w + c * conv.weights.group];
    const double pixel_work = static_cast<double>((taps + 1) * channels);
    const std::int64_t grain =
        std::max(kBlockPixels, static_cast<std::int64_t>(kTaskWork / pixel_work));
    parallel_ranges(pixels, grain, [&](std::int64_t begin, std::int64_t end) {
        WindowTable<T> table(windows, kBlockPixels);
        T* rows[kBlockPixels];
        for (std::int64_t p = begin; p < end; p += kBlockPixels) {
            const std::int64_t count = std::min(kBlockPixels, end - p);
            table.fill(p, count);
            pixel_pointers(conv.y, p, count, rows);
            DepthwiseBlock<T>{table,    windows.segments, windows.length, channels,
                              weights, conv.bias,        rows}
                .run(count);
        }
    });
}

template <class T>
void depthwise_weight_grad(const IndirectWeightGrad<T>& conv) {
    const std::int64_t channels = conv.gy.c;
    const Windows<T> windows(conv.x, conv.h, conv.w, conv.gy.h, conv.gy.w, 1);
    const std::int64_t taps = conv.h.taps * conv.w.taps, pixels = windows.pixels();
    const std::int64_t size = taps * channels;
    const double work = static_cast<double>(pixels) * static_cast<double>(size);
    const std::int64_t slots = std::max<std::int64_t>(
        1, std::min({kSlots, ceil_div(pixels, kInnerPixels),
                     static_cast<std::int64_t>(work / kTaskWork)}));
    const std::int64_t range = ceil_div(pixels, slots);
    Workspace buffer_space(static_cast<std::size_t>(2 * slots * size) * sizeof(T));
    T* buffers = buffer_space.as<T>();
    std::fill_n(buffers, 2 * slots * size, T(0));
    parallel_for(slots, [&](std::int64_t slot) {
        const std::int64_t end = std::min(pixels, (slot + 1) * range);
        WindowTable<T> table(windows, kInnerPixels);
        const T* gy[kInnerPixels];
        for (std::int64_t p = slot * range; p < end; p += kInnerPixels) {
            const std::int64_t count = std::min(kInnerPixels, end - p);
            table.fill(p, count);
            pixel_pointers(conv.gy, p, count, gy);
            DepthwiseGradBlock<T>{table, gy, count, windows.segments, windows.length, channels}.run(
                buffers + slot * size, buffers + (slots + slot) * size);
        }
    });
    for (std::int64_t step = 1; step < slots; step *= 2)
        for (std::int64_t s = 0; s + step < slots; s += 2 * step)
            for (std::int64_t i = 0; i < size; ++i)
                buffers[s * size + i] += buffers[(s + step) * size + i];
    for (std::int64_t t = 0; t < taps; ++t)
        for (std::int64_t c = 0; c < channels; ++c)
            conv.gw.data[t / conv.w.taps * conv.gw.tap_h + t % conv.w.taps * conv.gw.tap_w +
                         c * conv.gw.group] = buffers[t * channels + c];
}

template void depthwise_conv(const IndirectConv<float>&);
template void depthwise_conv(const IndirectConv<double>&);
template void depthwise_weight_grad(const IndirectWeightGrad<float>&);
template void depthwise_weight_grad(const IndirectWeightGrad<double>&);

}  // namespace babygrad::BABYGRAD_TARGET
