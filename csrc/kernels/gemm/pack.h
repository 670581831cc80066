// Packing: the right operand as panels of kTileColumns columns, the left one as tiles of rows.
//
// A panel holds kTileColumns values for each inner index, zeros beyond the last column, so that the
// micro-kernel reads it in one forward stream. Cost on Zen 3, cycles per element: rows copied 0.2,
// transposed 0.6, any other stride 1.5.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/gemm/gemm_tile.h"

namespace babygrad::BABYGRAD_TARGET {
namespace {

// The inner axis is walked in blocks of at most kMaxInner: a panel of one block is 20 KB with AVX2,
// which leaves room in L1 for the rows of the left operand, and a register adds at most this many
// products before it is rounded into memory.
constexpr std::int64_t kMaxInner = 320;

// The inner axis as `segments` of `length`, cut into blocks: several whole segments, or an equal
// part of one.
struct InnerBlock {
    std::int64_t segment, segments, offset, length;
    std::int64_t size() const { return segments * length; }
};

struct InnerBlocks {
    std::int64_t segments, length, group, part;

    InnerBlocks(std::int64_t segment_count, std::int64_t segment_length)
        : segments(segment_count), length(segment_length), group(1), part(segment_length) {
        const auto even = [](std::int64_t n, std::int64_t limit) {
            const std::int64_t pieces = (n + limit - 1) / limit;
            return (n + pieces - 1) / pieces;
        };
        if (length > kMaxInner)
            part = even(length, kMaxInner);
        else if (length > 0 && segments > 1)
            group = even(segments, kMaxInner / length);
    }

    template <class Fn>
    void each(const Fn& fn) const {
        for (std::int64_t s = 0; s < segments; s += group)
            for (std::int64_t k = 0; k < length; k += part) fn(at(s, k));
    }
    // The block that begins at `offset` of a segment, and that of inner index k.
    InnerBlock at(std::int64_t segment, std::int64_t offset) const {
        return {segment, segment + group < segments ? group : segments - segment, offset,
                offset + part < length ? part : length - offset};
    }
    InnerBlock find(std::int64_t k) const {
        return at(k / length / group * group, k % length / part * part);
    }
    std::int64_t start(const InnerBlock& block) const {
        return block.segment * length + block.offset;
    }
};

using f32x4 = float __attribute__((vector_size(16)));
using f64x2 = double __attribute__((vector_size(16)));

template <class V, class T>
inline V load16(const T* p) {
    V v;
    std::memcpy(&v, p, sizeof v);
    return v;
}

using i32x4 = std::int32_t __attribute__((vector_size(16)));
using i64x2 = std::int64_t __attribute__((vector_size(16)));

// The elements `i` of the vectors a and b, side by side. Clang's builtin is GCC's from version 12 on; the
// one that GCC has always had takes the indices as a vector.
#if __has_builtin(__builtin_shufflevector)
#define BABYGRAD_SHUFFLE(Indices, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define BABYGRAD_SHUFFLE(Indices, a, b, ...) __builtin_shuffle(a, b, Indices{__VA_ARGS__})
#endif

template <int i0, int i1, int i2, int i3>
inline f32x4 shuffle(f32x4 a, f32x4 b) {
    return BABYGRAD_SHUFFLE(i32x4, a, b, i0, i1, i2, i3);
}
template <int i0, int i1>
inline f64x2 shuffle(f64x2 a, f64x2 b) {
    return BABYGRAD_SHUFFLE(i64x2, a, b, i0, i1);
}
#undef BABYGRAD_SHUFFLE

// dst[j * dst_stride + i] = src[i * src_stride + j] for a square of 16-byte rows.
inline void transpose_square(const float* src, std::int64_t src_stride, float* dst,
                             std::int64_t dst_stride) {
    const f32x4 r0 = load16<f32x4>(src), r1 = load16<f32x4>(src + src_stride);
    const f32x4 r2 = load16<f32x4>(src + 2 * src_stride), r3 = load16<f32x4>(src + 3 * src_stride);
    const f32x4 a = shuffle<0, 4, 1, 5>(r0, r1);
    const f32x4 b = shuffle<0, 4, 1, 5>(r2, r3);
    const f32x4 c = shuffle<2, 6, 3, 7>(r0, r1);
    const f32x4 d = shuffle<2, 6, 3, 7>(r2, r3);
    const f32x4 columns[] = {shuffle<0, 1, 4, 5>(a, b), shuffle<2, 3, 6, 7>(a, b),
                             shuffle<0, 1, 4, 5>(c, d), shuffle<2, 3, 6, 7>(c, d)};
    for (int j = 0; j < 4; ++j) std::memcpy(dst + j * dst_stride, &columns[j], 16);
}

inline void transpose_square(const double* src, std::int64_t src_stride, double* dst,
                             std::int64_t dst_stride) {
    const f64x2 r0 = load16<f64x2>(src), r1 = load16<f64x2>(src + src_stride);
    const f64x2 columns[] = {shuffle<0, 2>(r0, r1), shuffle<1, 3>(r0, r1)};
    for (int j = 0; j < 2; ++j) std::memcpy(dst + j * dst_stride, &columns[j], 16);
}

// Element (k, j) of the right operand is b[k * row + j * column], 0 <= j < width.
template <class T>
inline void pack_panel(const T* b, std::int64_t row, std::int64_t column, std::int64_t inner,
                       std::int64_t width, T* out) {
    constexpr std::int64_t n = kTileColumns<T>;
    constexpr std::int64_t square = 16 / sizeof(T);
    if (width > n) width = n;
    if (column == 1 && width == n) {
        for (std::int64_t k = 0; k < inner; ++k, b += row, out += n) {
            store(out, load(b));
            store(out + kLanes<T>, load(b + kLanes<T>));
        }
        return;
    }
    std::int64_t k = 0;
    if (row == 1 && width == n) {
        for (; k + square <= inner; k += square)
            for (std::int64_t j = 0; j < n; j += square)
                transpose_square(b + j * column + k, column, out + k * n + j, n);
    }
    for (; k < inner; ++k) {
        for (std::int64_t j = 0; j < width; ++j) out[k * n + j] = b[k * row + j * column];
        for (std::int64_t j = width; j < n; ++j) out[k * n + j] = 0;
    }
}

// Adjacent panels, each [inner][kTileColumns], of a right operand with `width` columns left.
template <class T>
inline void pack_panels(const T* b, std::int64_t row, std::int64_t column, std::int64_t inner,
                        std::int64_t width, std::int64_t panels, T* out) {
    constexpr std::int64_t n = kTileColumns<T>;
    if (panels > 1 && column == 1 && width >= panels * n) {
        for (std::int64_t k = 0; k < inner; ++k, b += row)
            for (std::int64_t p = 0; p < panels; ++p) {
                T* to = out + (p * inner + k) * n;
                store(to, load(b + p * n));
                store(to + kLanes<T>, load(b + p * n + kLanes<T>));
            }
        return;
    }
    for (std::int64_t p = 0; p < panels; ++p)
        pack_panel(b + p * n * column, row, column, inner, width - p * n, out + p * inner * n);
}

// Element (i, k) of the left operand is a[i * row + k * column]; a tile of `rows` rows becomes
// [inner][rows].
template <class T>
inline void pack_tile(const T* a, std::int64_t row, std::int64_t column, int rows,
                      std::int64_t inner, T* out) {
    constexpr int square = 16 / sizeof(T);
    std::int64_t k = 0;
    if (column == 1 && rows >= square) {
        for (; k + square <= inner; k += square) {
            int i = 0;
            for (; i + square < rows; i += square)
                transpose_square(a + i * row + k, row, out + k * rows + i, rows);
            i = rows - square;  // may overlap the square before
            transpose_square(a + i * row + k, row, out + k * rows + i, rows);
        }
    }
    for (; k < inner; ++k)
        for (int i = 0; i < rows; ++i) out[k * rows + i] = a[i * row + k * column];
}

// Tiles of rows side by side, that of the rows from i on at i * left_pitch: six rows come to an odd
// number of cache lines, so that tiles written in turn fall into different sets of the cache, and
// there is room behind each.
template <class T>
inline std::int64_t left_pitch(std::int64_t inner) {
    constexpr std::int64_t unit = 32 / sizeof(T);
    return ((inner + unit) / unit | 1) * unit;
}

// Element (i, k) of the left operand is row(k)[i], 0 <= i < rows: a row of memory has one inner index
// of all tiles. It goes to the full ones in moves of eight elements, of which the next row overwrites
// two: from the cache that takes half the time of moves of six. A tile after the other would read
// the cache best and memory worst (1.1 times the time of a whole product).
template <class T, class Row>
inline void pack_tiles(const Row& row, std::int64_t rows, std::int64_t inner, std::int64_t pitch,
                       T* out) {
    constexpr std::int64_t tile = kTileRows, line = 64 / sizeof(T), ahead = 10;
    std::int64_t full = 0;
    while (rows - full > 9 || rows - full == tile) full += tile;
    for (std::int64_t k = 0; k < inner; ++k) {
        const T* next = k + ahead < inner ? row(k + ahead) : row(k);
        for (std::int64_t i = 0; i < rows; i += line) __builtin_prefetch(next + i);
        const T* from = row(k);
        T* to = out + k * tile;
        for (std::int64_t i = tile; i < full; i += tile, from += tile, to += tile * pitch)
            std::memcpy(to, from, 8 * sizeof(T));
        if (full > 0) std::memcpy(to, from, tile * sizeof(T));
    }
    each_tile(rows - full, [&](std::int64_t i, int height) {
        T* to = out + (full + i) * pitch;
        for (std::int64_t k = 0; k < inner; ++k, to += height)
            for (int r = 0; r < height; ++r) to[r] = row(k)[full + i + r];
    });
}

}  // namespace
}  // namespace babygrad::BABYGRAD_TARGET
