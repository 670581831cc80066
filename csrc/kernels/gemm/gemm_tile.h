// The micro-kernel: a tile of up to 6 rows and two vectors of columns, held in registers while the
// inner axis is walked.
//
// Policy: one accumulator per element, fused multiply-add where the target has it, in the order of
// the inner axis; callers bound the length of that axis (kMaxInner). Six rows by two vectors fill
// 12 of 16 registers; measured on Zen 3 (AVX2, inner axis of 288 in L1) this is 99 % of the peak of
// a register-only FMA loop. Unrolling the inner loop by hand makes GCC 12 spill and falls to 90 %;
// so do accumulators in an array. The left operand is read in four ways, all in place:
//
//   LeftMatrix   rows a stride apart
//   LeftRows     a pointer per row (the pixels of a convolution), in several segments
//   LeftStrided  the rows of a tile side by side, a stride along the inner axis (packed or
//                transposed)
//   LeftColumns  the same with a pointer per inner index (pixels as the inner axis)
#pragma once

#include <cstdint>
#include <type_traits>

#include "simd/vec.h"

namespace babygrad::BABYGRAD_TARGET {
namespace {

#define BABYGRAD_INLINE inline __attribute__((always_inline))

constexpr int kTileRows = 6;
template <class T>
constexpr int kTileColumns = 2 * kLanes<T>;

// Rows of the next tile when `left` remain: 6 + 2 and 6 + 3 become 4 + 4 and 5 + 4, because tiles
// of fewer than four rows cannot hide the latency of the multiply-add.
inline int tile_height(std::int64_t left) {
    if (left > 9 || left == 6) return 6;
    if (left > 6) return left == 9 ? 5 : 4;
    return static_cast<int>(left);
}

// Calls fn(first row, rows) for the tiles that cover m rows.
template <class Fn>
BABYGRAD_INLINE void each_tile(std::int64_t m, const Fn& fn) {
    for (std::int64_t i = 0; i < m;) {
        const int rows = tile_height(m - i);
        fn(i, rows);
        i += rows;
    }
}

template <class T, int Rows>
struct RowPointers {
    const T *r0, *r1, *r2, *r3, *r4, *r5;

    template <class Row>
    BABYGRAD_INLINE explicit RowPointers(const Row& row) {
        r0 = row(0);
        if constexpr (Rows > 1) r1 = row(1);
        if constexpr (Rows > 2) r2 = row(2);
        if constexpr (Rows > 3) r3 = row(3);
        if constexpr (Rows > 4) r4 = row(4);
        if constexpr (Rows > 5) r5 = row(5);
    }
    template <int I>
    BABYGRAD_INLINE T at(std::int64_t k) const {
        if constexpr (I == 0) return r0[k];
        if constexpr (I == 1) return r1[k];
        if constexpr (I == 2) return r2[k];
        if constexpr (I == 3) return r3[k];
        if constexpr (I == 4) return r4[k];
        if constexpr (I == 5) return r5[k];
    }
};

template <class T>
struct Column {
    const T* p;
    template <int I>
    BABYGRAD_INLINE T at(std::int64_t) const {
        return p[I];
    }
};

// The loops over the inner axis are unrolled, which makes products 1 to 2 % faster.
template <class T>
struct LeftMatrix {
    const T* data;
    std::int64_t stride, length;

    template <int Rows, class Step>
    BABYGRAD_INLINE void walk(const Step& step) const {
        const RowPointers<T, Rows> a([&](int i) { return data + i * stride; });
        #pragma GCC unroll 4
        for (std::int64_t k = 0; k < length; ++k) step(a, k);
    }
};

// Row i of segment t starts at rows[t * segment_stride + i] + offset.
template <class T>
struct LeftRows {
    const T* const* rows;
    std::int64_t segment_stride, segments, offset, length;

    template <int Rows, class Step>
    BABYGRAD_INLINE void walk(const Step& step) const {
        for (std::int64_t t = 0; t < segments; ++t) {
            const T* const* segment = rows + t * segment_stride;
            const RowPointers<T, Rows> a([&](int i) { return segment[i] + offset; });
            #pragma GCC unroll 4
            for (std::int64_t k = 0; k < length; ++k) step(a, k);
        }
    }
};

template <class T>
struct LeftStrided {
    const T* data;
    std::int64_t stride, length;

    template <int Rows, class Step>
    BABYGRAD_INLINE void walk(const Step& step) const {
        const T* a = data;
        #pragma GCC unroll 4
        for (std::int64_t k = 0; k < length; ++k, a += stride) step(Column<T>{a}, 0);
    }
};

template <class T>
struct LeftColumns {
    const T* const* columns;
    std::int64_t offset, length;

    template <int Rows, class Step>
    BABYGRAD_INLINE void walk(const Step& step) const {
        #pragma GCC unroll 4
        for (std::int64_t k = 0; k < length; ++k) step(Column<T>{columns[k] + offset}, 0);
    }
};

// A panel of the right operand: kTileColumns values per inner index, `stride` apart.
template <class T>
struct RightPanel {
    const T* data;
    std::int64_t stride;

    struct Walk {
        const T* p;
        std::int64_t stride;
        BABYGRAD_INLINE const T* next() {
            const T* row = p;
            p += stride;
            return row;
        }
    };
    BABYGRAD_INLINE Walk walk() const { return {data, stride}; }
};

// The same with a pointer per inner index (pixels as the inner axis), in place.
template <class T>
struct RightRows {
    const T* const* rows;
    std::int64_t offset;

    struct Walk {
        const T* const* row;
        std::int64_t offset;
        BABYGRAD_INLINE const T* next() { return *row++ + offset; }
    };
    BABYGRAD_INLINE Walk walk() const { return {rows, offset}; }
};

// Where a tile goes: rows a stride apart, or row i at rows[i] + column. `bias` (kTileColumns values)
// may be null.
template <class T>
struct OutMatrix {
    T* data;
    std::int64_t stride;
    const T* bias;
    bool accumulate;
    BABYGRAD_INLINE T* row(std::int64_t i) const { return data + i * stride; }
};
template <class T>
struct OutRows {
    T* const* rows;
    std::int64_t column;
    const T* bias;
    bool accumulate;
    BABYGRAD_INLINE T* row(std::int64_t i) const { return rows[i] + column; }
};

template <class T>
struct RowSum {
    Vec<T> lo, hi;

    BABYGRAD_INLINE void add_product(T a, Vec<T> b_lo, Vec<T> b_hi) {
        const Vec<T> x = splat(a);
        lo = fma(x, b_lo, lo);
        hi = fma(x, b_hi, hi);
    }
    BABYGRAD_INLINE void add(const T* c) {
        lo += load(c);
        hi += load(c + kLanes<T>);
    }
    BABYGRAD_INLINE void store_to(T* c) const {
        store(c, lo);
        store(c + kLanes<T>, hi);
    }
};

template <class T, int Rows>
struct Tile {
    RowSum<T> c0{}, c1{}, c2{}, c3{}, c4{}, c5{};

    template <class Fn>
    BABYGRAD_INLINE void each_row(const Fn& fn) {
        fn(c0, std::integral_constant<int, 0>());
        if constexpr (Rows > 1) fn(c1, std::integral_constant<int, 1>());
        if constexpr (Rows > 2) fn(c2, std::integral_constant<int, 2>());
        if constexpr (Rows > 3) fn(c3, std::integral_constant<int, 3>());
        if constexpr (Rows > 4) fn(c4, std::integral_constant<int, 4>());
        if constexpr (Rows > 5) fn(c5, std::integral_constant<int, 5>());
    }

    template <class Left, class Right>
    BABYGRAD_INLINE void multiply(const Left& left, const Right& right) {
        auto rows = right.walk();
        left.template walk<Rows>([&](const auto& a, std::int64_t k) __attribute__((always_inline)) {
            const T* b = rows.next();
            const Vec<T> b_lo = load(b), b_hi = load(b + kLanes<T>);
            each_row([&](RowSum<T>& c, auto i) __attribute__((always_inline)) {
                c.add_product(a.template at<i>(k), b_lo, b_hi);
            });
        });
    }

    template <class Out>
    BABYGRAD_INLINE void finish(const Out& out) {
        if (out.accumulate) each_row([&](RowSum<T>& c, auto i) { c.add(out.row(i)); });
        if (out.bias) each_row([&](RowSum<T>& c, auto) { c.add(out.bias); });
        each_row([&](RowSum<T>& c, auto i) { c.store_to(out.row(i)); });
    }
};

template <class T, int Rows, class Left, class Right, class Out>
__attribute__((noinline)) void tile(const Left& left, const Right& right, const Out& out) {
    Tile<T, Rows> c;
    // A row may take two lines. Worth 5 % of a GPT or a CNN, whose outputs come from memory.
    c.each_row([&](RowSum<T>&, auto i) {
        __builtin_prefetch(out.row(i), 1);
        __builtin_prefetch(out.row(i) + kTileColumns<T> - 1, 1);
    });
    c.multiply(left, right);
    c.finish(out);
}

template <class T, class Left, class Right, template <class> class Out>
inline void full_tile(int rows, const Left& left, const Right& right, const Out<T>& out) {
    switch (rows) {
        case 6: return tile<T, 6>(left, right, out);
        case 5: return tile<T, 5>(left, right, out);
        case 4: return tile<T, 4>(left, right, out);
        case 3: return tile<T, 3>(left, right, out);
        case 2: return tile<T, 2>(left, right, out);
        default: return tile<T, 1>(left, right, out);
    }
}

// A tile of which only `width` columns exist: computed whole beside the output, then copied.
template <class T, class Left, class Out>
__attribute__((noinline)) void narrow_tile(int rows, std::int64_t width, const Left& left,
                                           const RightPanel<T>& right, const Out& out) {
    alignas(64) T values[kTileRows * kTileColumns<T>];
    full_tile(rows, left, right, OutMatrix<T>{values, kTileColumns<T>, nullptr, false});
    for (int i = 0; i < rows; ++i) {
        T* c = out.row(i);
        for (std::int64_t j = 0; j < width; ++j) {
            T value = values[i * kTileColumns<T> + j];
            if (out.accumulate) value += c[j];
            if (out.bias) value += out.bias[j];
            c[j] = value;
        }
    }
}

// `width` columns of a tile of `rows` rows.
template <class T, class Left, class Out>
inline void any_tile(int rows, std::int64_t width, const Left& left, const RightPanel<T>& right,
                     const Out& out) {
    if (width >= kTileColumns<T>)
        full_tile(rows, left, right, out);
    else
        narrow_tile(rows, width, left, right, out);
}

}  // namespace
}  // namespace babygrad::BABYGRAD_TARGET
