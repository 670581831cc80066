// Winograd's minimal filtering F(2x2, 3x3): 16 products for the four outputs of a tile that share a
// 4x4 patch of the input, where the definition takes 36.
//
// With B, G and A below, y = A^T [(G w G^T) * (B^T x B)] A for one channel, * elementwise; a sum over
// channels turns * into 16 matrix products (A. Lavin and S. Gray, "Fast Algorithms for Convolutional
// Neural Networks", 2015; S. Winograd, "Arithmetic Complexity of Computations", 1980). The gradient of
// the weights is the same bilinear form in another order: G^T [(B^T x B) * (A gy A^T)] G.
//
// Policy: all coefficients are 0, 1, -1 and 1/2, so that sums of small integers stay exact, and the
// error is that of the direct sum within a factor of two; larger tiles, which multiply less, lose
// digits. An output or an input's gradient depends on its own nine pixels alone, as in the definition,
// but an infinite one may give NaN, because it is added and subtracted. In a weight's gradient pixels
// that its tap does not read, at the border, cancel: up to rounding, and if they are finite.
#pragma once

#include <algorithm>

#include "kernels/conv/conv_core.h"
#include "kernels/gemm/gemm_tile.h"
#include "simd/vec.h"
#include "runtime/threads.h"

namespace babygrad::BABYGRAD_TARGET {
namespace {

constexpr std::int64_t kTileOutputs = 2, kProducts = 16, kTaps = 9;
// Of a block, in either direction.
constexpr std::int64_t kMostTiles = 128;

// One line of each transformation, from elements `in` apart to elements `out` apart.
struct InputLine {  // B^T
    static constexpr int from = 4, to = 4;
    template <class V>
    static void apply(const V* d, int in, V* t, int out) {
        t[0] = d[0] - d[2 * in];
        t[out] = d[in] + d[2 * in];
        t[2 * out] = d[2 * in] - d[in];
        t[3 * out] = d[in] - d[3 * in];
    }
};
struct WeightLine {  // G
    static constexpr int from = 3, to = 4;
    template <class V>
    static void apply(const V* w, int in, V* t, int out) {
        const V ends = (w[0] + w[2 * in]) * 0.5f, middle = w[in] * 0.5f;
        t[0] = w[0];
        t[out] = ends + middle;
        t[2 * out] = ends - middle;
        t[3 * out] = w[2 * in];
    }
};
struct OutputLine {  // A^T
    static constexpr int from = 4, to = 2;
    template <class V>
    static void apply(const V* m, int in, V* y, int out) {
        y[0] = m[0] + m[in] + m[2 * in];
        y[out] = m[in] - m[2 * in] - m[3 * in];
    }
};
struct OutputGradLine {  // A
    static constexpr int from = 2, to = 4;
    template <class V>
    static void apply(const V* y, int in, V* t, int out) {
        t[0] = y[0];
        t[out] = y[0] + y[in];
        t[2 * out] = y[0] - y[in];
        t[3 * out] = -y[in];
    }
};
struct WeightGradLine {  // G^T
    static constexpr int from = 4, to = 3;
    template <class V>
    static void apply(const V* m, int in, V* w, int out) {
        const V even = (m[in] + m[2 * in]) * 0.5f;
        w[0] = m[0] + even;
        w[out] = (m[in] - m[2 * in]) * 0.5f;
        w[2 * out] = even + m[3 * in];
    }
};

// Both axes: `in` holds from x from vectors, `out` gets to x to.
template <class Line, class V>
inline void transform(const V* in, V* out) {
    V half[Line::to * Line::from];
    #pragma GCC unroll 4
    for (int s = 0; s < Line::from; ++s) Line::apply(in + s, Line::from, half + s, Line::from);
    #pragma GCC unroll 4
    for (int r = 0; r < Line::to; ++r)
        Line::apply(half + r * Line::from, 1, out + r * Line::to, 1);
}

// Patches of Size x Size pixels, kTileOutputs apart, one per tile of a convolution's output.
template <class T, int Size>
struct Patches {
    Image<T> image;
    std::int64_t first_h, first_w;  // where the first patch begins
    std::int64_t tiles_h, tiles_w;
    T* outside;                     // stands for a pixel that the image lacks: image.c elements

    // Calls fn(i, pixels) for patches [first, first + count) of all images in C order.
    template <class Fn>
    void each(std::int64_t first, std::int64_t count, const Fn& fn) const {
        each_run(first, count, tiles_w,
                 [&](std::int64_t i, std::int64_t row, std::int64_t column, std::int64_t run) {
            const std::int64_t h = row % tiles_h * kTileOutputs + first_h;
            T* const data = image.data + row / tiles_h * image.stride_n;
            for (std::int64_t p = 0; p < run; ++p) {
                T* pixels[Size * Size];
                const std::int64_t w = (column + p) * kTileOutputs + first_w;
                for (int r = 0; r < Size; ++r)
                    for (int s = 0; s < Size; ++s)
                        pixels[r * Size + s] =
                            inside(h + r, image.h) && inside(w + s, image.w)
                                ? data + (h + r) * image.stride_h + (w + s) * image.stride_w
                                : outside;
                fn(i + p, pixels);
            }
        });
    }

private:
    static bool inside(std::int64_t at, std::int64_t size) { return at >= 0 && at < size; }
};

// At most `left` elements.
template <class T>
inline Vec<T> load_some(const T* from, std::int64_t left) {
    return left >= kLanes<T> ? load(from) : load_part(from, std::max<std::int64_t>(left, 0));
}
template <class T>
inline void store_some(T* to, Vec<T> v, std::int64_t left) {
    if (left >= kLanes<T>)
        store(to, v);
    else
        store_part(to, v, left);
}

// Where transformed patches lie: product p of channel c of patch i at
// data + p * plane + c / kTileColumns * panel + i * patch + c % kTileColumns.
template <class T>
struct Products {
    T* data;
    std::int64_t plane, panel, patch;
};

// `count` channels from `first` on, and zeros up to `row` of them, a multiple of the vector length.
struct Channels {
    std::int64_t first, count, row;
};

template <class Line, class T>
void transform_patches(const Patches<const T, Line::from>& patches, std::int64_t first,
                       std::int64_t count, const Channels& channels, const Products<T>& out) {
    constexpr int pixels = Line::from * Line::from;
    constexpr std::int64_t n = kTileColumns<T>;
    patches.each(first, count, [&](std::int64_t i, const T* const* at) {
        for (std::int64_t c = 0; c < channels.row; c += kLanes<T>) {
            Vec<T> in[pixels], products[kProducts];
            for (int p = 0; p < pixels; ++p)
                in[p] = load_some(at[p] + channels.first + c, channels.count - c);
            transform<Line>(in, products);
            T* to = out.data + c / n * out.panel + i * out.patch + c % n;
            for (int p = 0; p < kProducts; ++p) store(to + p * out.plane, products[p]);
        }
    });
}

// Elements of one product of `size`: not a power of two, so that the 16 that are written in turn fall
// into different sets of the cache.
template <class T>
std::int64_t plane_size(std::int64_t size) {
    constexpr std::int64_t line = 64 / sizeof(T);
    return (ceil_div(size, line) | 1) * line;
}

template <class T>
std::int64_t whole_vectors(std::int64_t channels) {
    return ceil_div(channels, kLanes<T>) * kLanes<T>;
}

// `size` values, whole vectors, of planes that are the elements of a matrix.
template <class Line, class T>
void transform_planes(const T* in, std::int64_t in_plane, T* out, std::int64_t out_plane,
                      std::int64_t size) {
    constexpr int from = Line::from * Line::from, to = Line::to * Line::to;
    for (std::int64_t i = 0; i < size; i += kLanes<T>) {
        Vec<T> values[from], results[to];
        for (int p = 0; p < from; ++p) values[p] = load(in + p * in_plane + i);
        transform<Line>(values, results);
        for (int p = 0; p < to; ++p) store(out + p * out_plane + i, results[p]);
    }
}

// A convolution in tiles of its output.
struct WinogradShape {
    std::int64_t images, tiles_h, tiles_w, groups;
    std::int64_t channels, outputs, panels;  // of one group

    template <class T>
    static WinogradShape of(const Image<const T>& x, std::int64_t groups, std::int64_t out_h,
                            std::int64_t out_w, std::int64_t outputs) {
        return {x.n, ceil_div(out_h, kTileOutputs), ceil_div(out_w, kTileOutputs), groups,
                x.c / groups, outputs / groups, ceil_div(outputs / groups, kTileColumns<T>)};
    }
    std::int64_t tiles() const { return images * tiles_h * tiles_w; }

    // Whether the filtering applies, in `buffers` times the memory of the transformed weights.
    template <class T>
    bool fits(const TapAxis& h, const TapAxis& w, std::int64_t buffers) const {
        constexpr std::int64_t item = sizeof(T) * kProducts;
        const std::int64_t columns = panels * kTileColumns<T>;
        return h.taps == 3 && w.taps == 3 && h.stride == 1 && w.stride == 1 && h.step == 1 &&
               w.step == 1 && buffers * groups * channels * columns * item <= kWeightBytes &&
               kMostTiles * (channels + columns) * item <= kPatchesBytes;
    }

    // Whether it takes less time than a direct product of `columns` columns for each of `pixels`
    // pixels. In cycles of one group, fitted to measurements on Zen 3: a tile costs its products, a
    // little for the start of each, and the transformations; a weight is transformed once.
    template <class T>
    bool pays(std::int64_t pixels, std::int64_t columns) const {
        const std::int64_t weights = channels * panels;
        const std::int64_t tile = kProducts * weights + 80 * panels + transform_cycles<T>(channels) +
                                  transform_cycles<T>(panels * kTileColumns<T>);
        return tiles() * tile + 400 * weights < kTaps * channels * columns / kTileColumns<T> * pixels;
    }
    template <class T>
    static std::int64_t transform_cycles(std::int64_t channels) {
        const std::int64_t part = channels % kLanes<T> ? 150 : 0;
        return 48 * ceil_div(channels, kLanes<T>) + part;
    }

private:
    static constexpr std::int64_t kWeightBytes = 32 << 20, kPatchesBytes = 16 << 20;
};

}  // namespace
}  // namespace babygrad::BABYGRAD_TARGET
