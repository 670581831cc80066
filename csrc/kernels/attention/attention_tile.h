// What both directions of attention share: matrices of a head, products of tiles by the micro-kernel
// of the GEMM core, and the scores of a tile.
//
// Operands whose columns are adjacent are read where they lie; the others, and the right operand of
// q k^T and gy v^T, are packed. Under a causal mask a tile of rows is multiplied with what it sees.
#pragma once

#include <algorithm>
#include <cstring>

#include "kernels/attention/attention.h"
#include "kernels/gemm/pack.h"
#include "runtime/memory.h"
#include "simd/math.h"

namespace babygrad::BABYGRAD_TARGET {
namespace {

constexpr std::int64_t kTile = 64;  // queries, and keys, per tile

template <class T>
std::int64_t padded(std::int64_t n) {
    return (n + kTileColumns<T> - 1) / kTileColumns<T> * kTileColumns<T>;
}

// Workspace rows of `ld` elements, which are whole panels.
template <class T>
struct Scratch {
    T* data;
    std::int64_t ld;
    T* row(std::int64_t i) const { return data + i * ld; }
};

// Hands out tiles of one workspace.
template <class T>
class ScratchTiles {
public:
    explicit ScratchTiles(std::int64_t elements)
        : workspace_(static_cast<std::size_t>(elements) * sizeof(T)), next_(workspace_.as<T>()) {}
    Scratch<T> take(std::int64_t rows, std::int64_t columns) {
        const Scratch<T> tile{next_, padded<T>(columns)};
        next_ += rows * tile.ld;
        return tile;
    }

private:
    Workspace workspace_;
    T* next_;
};

// Element (i, j) at data[i * row + j * column]; also the left operand of a product.
template <class T>
struct Matrix {
    T* data;
    std::int64_t row, column;

    Matrix from(std::int64_t first_row) const { return {data + first_row * row, row, column}; }
    Matrix transposed() const { return {data, column, row}; }
};
template <class T>
Matrix<T> matrix_of(const View& x, std::int64_t head) {
    const std::int64_t b = head / x.shape[1], h = head % x.shape[1];
    constexpr std::int64_t item = sizeof(T);
    return {reinterpret_cast<T*>(x.data + b * x.strides[0] + h * x.strides[1]),
            x.strides[2] / item, x.strides[3] / item};
}
template <class T>
Matrix<T> matrix_of(const Scratch<T>& tile) {
    return {tile.data, tile.ld, 1};
}

// The right operand: panels `step` apart, each with rows `stride` apart.
template <class T>
struct Right {
    const T* data;
    std::int64_t stride, step;
};

template <class T>
Right<T> packed(const Matrix<T>& x, std::int64_t rows, std::int64_t columns,
                const Scratch<T>& scratch) {
    constexpr std::int64_t n = kTileColumns<T>;
    pack_panels(x.data, x.row, x.column, rows, columns, padded<T>(columns) / n, scratch.data);
    return {scratch.data, n, rows * n};
}

template <class T>
Right<T> right_of(const Matrix<T>& x, std::int64_t rows, std::int64_t columns,
                  const Scratch<T>& scratch) {
    if (x.column == 1 && columns % kTileColumns<T> == 0) return {x.data, x.row, kTileColumns<T>};
    return packed(x, rows, columns, scratch);
}

// A matrix as a left operand: as it lies if the elements of rows or columns are adjacent.
template <class T>
Matrix<T> left_of(const Matrix<T>& x, std::int64_t rows, std::int64_t columns,
                  const Scratch<T>& scratch) {
    if (x.column == 1 || x.row == 1) return x;
    for (std::int64_t i = 0; i < rows; ++i)
        for (std::int64_t j = 0; j < columns; ++j)
            scratch.row(i)[j] = x.data[i * x.row + j * x.column];
    return matrix_of(scratch);
}

struct Range {
    std::int64_t begin, end;
};

// C (m, columns) = A B, or += with `accumulate`, where the rows from i on take the inner indices in
// inner(i, rows) only.
template <class T, class Inner>
void multiply(const Scratch<T>& c, const Matrix<T>& a, const Right<T>& b, std::int64_t m,
              std::int64_t columns, bool accumulate, const Inner& inner) {
    each_tile(m, [&](std::int64_t i, int rows) {
        const Range range = inner(i, rows);
        const std::int64_t length = std::max<std::int64_t>(range.end - range.begin, 0);
        for (std::int64_t j = 0; j < columns; j += kTileColumns<T>) {
            const RightPanel<T> right{
                b.data + j / kTileColumns<T> * b.step + range.begin * b.stride, b.stride};
            const OutMatrix<T> out{c.row(i) + j, c.ld, nullptr, accumulate};
            const T* left = a.data + i * a.row + range.begin * a.column;
            if (a.column == 1)
                full_tile(rows, LeftMatrix<T>{left, a.row, length}, right, out);
            else
                full_tile(rows, LeftStrided<T>{left, a.column, length}, right, out);
        }
    });
}

// Queries [query, query + m) against keys [key, key + n), and who sees whom.
struct Block {
    bool causal;
    std::int64_t head, query, m, key, n;

    // The keys that query i of the block sees are the first ones.
    std::int64_t visible(std::int64_t i) const {
        return causal ? std::clamp<std::int64_t>(query + i + 1 - key, 0, n) : n;
    }
    // The queries that see key j of the block are the last ones.
    std::int64_t first(std::int64_t j) const {
        return causal ? std::clamp<std::int64_t>(key + j - query, 0, m) : 0;
    }
};

// The lanes of a vector at column j that stand before `end`.
template <class T>
Bits<T> lanes_before(std::int64_t j, std::int64_t end) {
    Bits<T> lane{};
    for (int i = 0; i < kLanes<T>; ++i) lane[i] = i;
    return lane < splat(static_cast<decltype(lane[0] + 0)>(end - j));
}

// C = A B for the keys that a query sees; a tile of queries takes those of its last one.
template <class T>
void multiply_visible(const Block& at, const Scratch<T>& c, const Matrix<T>& a, const Right<T>& b,
                      std::int64_t inner) {
    each_tile(at.m, [&](std::int64_t i, int rows) {
        multiply(Scratch<T>{c.row(i), c.ld}, a.from(i), b, rows,
                 padded<T>(at.visible(i + rows - 1)), false,
                 [&](std::int64_t, int) { return Range{0, inner}; });
    });
}

// Zeros from column j, the first vector behind the visible ones, as far as the products read a row:
// they take what the last query of a tile sees, or a tile of keys from the first one's queries on.
template <class T>
BABYGRAD_INLINE void clear_hidden(T* row, std::int64_t j, std::int64_t visible, std::int64_t n) {
    constexpr int behind = kTileRows - 1, lanes = kLanes<T>;
    const std::int64_t end = std::min(n, visible + behind);
    // A constant number of steps, or the compiler calls memset for a single vector.
    for (int step = 0; step < (behind + lanes - 1) / lanes; ++step)
        if (j + step * lanes < end) store(row + j + step * lanes, Vec<T>{});
}

// scale q k^T + mask, for the keys that a query sees, -inf where the mask says so and from there to
// the next whole vector; what lies beyond is not set.
template <class T>
void tile_scores(const AttentionArgs& a, const Block& at, const Scratch<T>& scores,
                 const Matrix<T>& q, const Right<T>& k_transposed) {
    const T none = static_cast<T>(-__builtin_inf());
    const Vec<T> scale = splat(static_cast<T>(a.scale));
    multiply_visible(at, scores, q, k_transposed, a.q.shape[3]);
    for (std::int64_t i = 0; i < at.m; ++i) {
        T* row = scores.row(i);
        const std::int64_t visible = at.visible(i);
        for (std::int64_t j = 0; j < visible; j += kLanes<T>)
            store(row + j, select(lanes_before<T>(j, visible), load(row + j) * scale, splat(none)));
        if (a.mask.data && a.mask.dtype == DType::b8) {
            const auto mask = matrix_of<const char>(a.mask, at.head).from(at.query + i);
            for (std::int64_t j = 0; j < visible; ++j)
                if (!mask.data[(at.key + j) * mask.column]) row[j] = none;
        } else if (a.mask.data) {
            const auto mask = matrix_of<const T>(a.mask, at.head).from(at.query + i);
            for (std::int64_t j = 0; j < visible; ++j)
                row[j] += mask.data[(at.key + j) * mask.column];
        }
    }
}

}  // namespace
}  // namespace babygrad::BABYGRAD_TARGET
