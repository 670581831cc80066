// What both directions of attention share: tiles in workspace, padded to whole vectors, a product of
// tiles, and the scores of a tile.
#pragma once

#include <cstring>

#include "kernels/attention.h"
#include "memory.h"
#include "simd/math.h"

namespace babygrad::BABYGRAD_TARGET {
namespace {

constexpr std::int64_t kTile = 64;  // queries, and keys, per tile

template <class T>
constexpr std::int64_t kPanel = 2 * kLanes<T>;

template <class T>
std::int64_t padded(std::int64_t n) {
    return (n + kPanel<T> - 1) / kPanel<T> * kPanel<T>;
}

// Rows of `ld` elements, of which `ld` is a multiple of kPanel.
template <class T>
struct Tile {
    T* data;
    std::int64_t ld;
    T* row(std::int64_t i) const { return data + i * ld; }
    void zero(std::int64_t rows) const {
        std::memset(data, 0, static_cast<std::size_t>(rows * ld) * sizeof(T));
    }
};

// Two vectors of four rows of C += A B; eight named accumulators, so that none is spilled.
template <class T>
inline void product_4(const Tile<T>& c, const Tile<T>& a, const Tile<T>& b, std::int64_t k,
                      std::int64_t i, std::int64_t j) {
    constexpr std::int64_t v = kLanes<T>;
    T *c0 = c.row(i) + j, *c1 = c.row(i + 1) + j, *c2 = c.row(i + 2) + j, *c3 = c.row(i + 3) + j;
    Vec<T> p0 = load(c0), q0 = load(c0 + v), p1 = load(c1), q1 = load(c1 + v);
    Vec<T> p2 = load(c2), q2 = load(c2 + v), p3 = load(c3), q3 = load(c3 + v);
    const T *a0 = a.row(i), *a1 = a.row(i + 1), *a2 = a.row(i + 2), *a3 = a.row(i + 3);
    for (std::int64_t d = 0; d < k; ++d) {
        const T* right = b.row(d) + j;
        const Vec<T> x = load(right), y = load(right + v);
        const Vec<T> e0 = splat(a0[d]), e1 = splat(a1[d]), e2 = splat(a2[d]), e3 = splat(a3[d]);
        p0 = fma(e0, x, p0);
        q0 = fma(e0, y, q0);
        p1 = fma(e1, x, p1);
        q1 = fma(e1, y, q1);
        p2 = fma(e2, x, p2);
        q2 = fma(e2, y, q2);
        p3 = fma(e3, x, p3);
        q3 = fma(e3, y, q3);
    }
    store(c0, p0);
    store(c0 + v, q0);
    store(c1, p1);
    store(c1 + v, q1);
    store(c2, p2);
    store(c2 + v, q2);
    store(c3, p3);
    store(c3 + v, q3);
}

template <class T>
inline void product_1(const Tile<T>& c, const Tile<T>& a, const Tile<T>& b, std::int64_t k,
                      std::int64_t i, std::int64_t j) {
    T* out = c.row(i) + j;
    Vec<T> p = load(out), q = load(out + kLanes<T>);
    for (std::int64_t d = 0; d < k; ++d) {
        const Vec<T> e = splat(a.row(i)[d]);
        p = fma(e, load(b.row(d) + j), p);
        q = fma(e, load(b.row(d) + j + kLanes<T>), q);
    }
    store(out, p);
    store(out + kLanes<T>, q);
}

// C (m, C.ld) += A (m, k) B (k, C.ld).
template <class T>
void add_product(const Tile<T>& c, const Tile<T>& a, const Tile<T>& b, std::int64_t m,
                 std::int64_t k) {
    for (std::int64_t j = 0; j < c.ld; j += kPanel<T>) {
        std::int64_t i = 0;
        for (; i + 4 <= m; i += 4) product_4(c, a, b, k, i, j);
        for (; i < m; ++i) product_1(c, a, b, k, i, j);
    }
}

// One (rows, columns) matrix of a batch of heads.
struct Matrix {
    const char* data;
    std::int64_t row, column;  // strides
};
inline Matrix matrix_of(const View& x, std::int64_t head) {
    const std::int64_t b = head / x.shape[1], h = head % x.shape[1];
    return {x.data + b * x.strides[0] + h * x.strides[1], x.strides[2], x.strides[3]};
}

// Copies rows [first, first + rows) of a matrix, or its transpose, into a tile padded with zeros.
template <class T>
void pack(const Tile<T>& tile, const Matrix& from, std::int64_t first, std::int64_t rows,
          std::int64_t columns) {
    tile.zero(rows);
    for (std::int64_t i = 0; i < rows; ++i) {
        const char* p = from.data + (first + i) * from.row;
        for (std::int64_t j = 0; j < columns; ++j)
            tile.row(i)[j] = *reinterpret_cast<const T*>(p + j * from.column);
    }
}
template <class T>
void pack_transposed(const Tile<T>& tile, const Matrix& from, std::int64_t first,
                     std::int64_t rows, std::int64_t columns) {
    tile.zero(columns);
    for (std::int64_t i = 0; i < rows; ++i) {
        const char* p = from.data + (first + i) * from.row;
        for (std::int64_t j = 0; j < columns; ++j)
            tile.row(j)[i] = *reinterpret_cast<const T*>(p + j * from.column);
    }
}
template <class T>
void transpose(const Tile<T>& to, const Tile<T>& from, std::int64_t rows, std::int64_t columns) {
    for (std::int64_t i = 0; i < rows; ++i)
        for (std::int64_t j = 0; j < columns; ++j) to.row(j)[i] = from.row(i)[j];
}

// Queries [query, query + m) against keys [key, key + n).
struct Block {
    std::int64_t head, query, m, key, n;
};

// scores = scale q k^T with the masks applied: -inf where a position takes no part, and in the
// padding. `scores` holds zeros where it is called.
template <class T>
void tile_scores(const AttentionArgs& a, const Block& at, const Tile<T>& scores, const Tile<T>& q,
                 const Tile<T>& k_transposed) {
    const T none = static_cast<T>(-__builtin_inf()), scale = static_cast<T>(a.scale);
    scores.zero(at.m);
    add_product(scores, q, k_transposed, at.m, a.q.shape[3]);
    const bool boolean = a.mask.dtype == DType::b8;
    for (std::int64_t i = 0; i < at.m; ++i) {
        T* row = scores.row(i);
        for (std::int64_t j = 0; j < at.n; ++j) row[j] *= scale;
        if (a.mask.data) {
            const Matrix mask = matrix_of(a.mask, at.head);
            const char* p = mask.data + (at.query + i) * mask.row + at.key * mask.column;
            for (std::int64_t j = 0; j < at.n; ++j, p += mask.column) {
                if (!boolean)
                    row[j] += *reinterpret_cast<const T*>(p);
                else if (!*p)
                    row[j] = none;
            }
        }
        const std::int64_t visible = at.query + i + 1 - at.key;
        const std::int64_t from = a.causal && visible < at.n ? (visible > 0 ? visible : 0) : at.n;
        for (std::int64_t j = from; j < scores.ld; ++j) row[j] = none;
    }
}

// Keys that any of the queries before `end` sees.
inline std::int64_t visible_keys(const AttentionArgs& a, std::int64_t end) {
    const std::int64_t keys = a.k.shape[2];
    return a.causal && end < keys ? end : keys;
}

}  // namespace
}  // namespace babygrad::BABYGRAD_TARGET
