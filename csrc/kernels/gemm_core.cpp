#include "kernels/gemm_core.h"

#include <algorithm>

#include "kernels/pack.h"
#include "memory.h"
#include "threads.h"

namespace babygrad::BABYGRAD_TARGET {
namespace {

// Below this many multiply-adds a job stays on the calling thread (about 6 us at the peak).
constexpr double kSerialWork = 256e3;
// A task of a parallel job is about this many.
constexpr double kTaskWork = 2e6;
// Rows of the left operand that stay in L2 beside the panels.
constexpr std::int64_t kBlockRows = 96;
// Up to this many rows, every task packs its own panels instead of all sharing packed ones.
constexpr std::int64_t kPanelRows = 192;
// Bound on the memory of the packed right operand, and on that of separate sums.
constexpr std::int64_t kPackedBytes = 32 << 20;
// An inner axis this long is summed in ranges of at least half of it when the output is small; one
// that is very long, always.
constexpr std::int64_t kLongInner = 2048;
constexpr std::int64_t kVeryLongInner = 32768;
constexpr std::int64_t kSmallOutput = 65536;
constexpr std::int64_t kSlots = 16;

template <class T>
double work(const Gemm<T>& g) {
    return static_cast<double>(g.m) * static_cast<double>(g.n) * static_cast<double>(g.k);
}

// Calls fn(first row, rows) for the tiles that cover m rows.
template <class Fn>
inline void each_tile(std::int64_t m, const Fn& fn) {
    for (std::int64_t i = 0; i < m;) {
        const int rows = tile_height(m - i);
        fn(i, rows);
        i += rows;
    }
}

// All rows times one panel of one block of the inner axis.
template <class T>
void multiply_panel(const Gemm<T>& g, std::int64_t k, std::int64_t length, std::int64_t j,
                    const RightPanel<T>& right, const T* packed_left) {
    const bool first = k == 0;
    T* c_rows[kTileRows];
    const T* a_rows[kTileRows];
    const std::int64_t width = g.n - j;
    const T* bias = first && g.bias ? g.bias + j : nullptr;
    each_tile(g.m, [&](std::int64_t i, int rows) {
        for (int r = 0; r < rows; ++r) c_rows[r] = g.c + (i + r) * g.c_row;
        const TileOut<T> out{c_rows, j, bias, g.accumulate || !first};
        if (packed_left) {
            any_tile(rows, width, LeftStrided<T>{packed_left + i * length, rows, length}, right,
                     out);
        } else if (g.a_row == 1 && g.a_column != 1) {
            any_tile(rows, width, LeftStrided<T>{g.a + i + k * g.a_column, g.a_column, length},
                     right, out);
        } else if (g.a_column != 1) {
            alignas(64) T tile[kMaxInner * kTileRows];
            pack_tile(g.a + i * g.a_row + k * g.a_column, g.a_row, g.a_column, rows, length, tile);
            any_tile(rows, width, LeftStrided<T>{tile, rows, length}, right, out);
        } else {
            for (int r = 0; r < rows; ++r) a_rows[r] = g.a + (i + r) * g.a_row;
            any_tile(rows, width, LeftRows<T>{a_rows, 0, 1, k, length}, right, out);
        }
    });
}

template <class T>
void pack_left(const Gemm<T>& g, std::int64_t k, std::int64_t length, T* out) {
    each_tile(g.m, [&](std::int64_t i, int rows) {
        pack_tile(g.a + i * g.a_row + k * g.a_column, g.a_row, g.a_column, rows, length,
                  out + i * length);
    });
}

// The same product with only rows [i, i + rows).
template <class T>
Gemm<T> row_block(Gemm<T> g, std::int64_t i, std::int64_t rows) {
    g.a += i * g.a_row;
    g.c += i * g.c_row;
    g.m = std::min(rows, g.m - i);
    return g;
}

template <class T>
Gemm<T> column_block(Gemm<T> g, std::int64_t j, std::int64_t columns) {
    g.b += j * g.b_column;
    g.c += j;
    if (g.bias) g.bias += j;
    g.n = std::min(columns, g.n - j);
    return g;
}

// An empty inner axis: c = bias (+ c).
template <class T>
void fill(const Gemm<T>& g) {
    for (std::int64_t i = 0; i < g.m; ++i)
        for (std::int64_t j = 0; j < g.n; ++j) {
            const T value = g.bias ? g.bias[j] : T(0);
            T& c = g.c[i * g.c_row + j];
            c = g.accumulate ? c + value : value;
        }
}

template <class T>
bool left_in_place(const Gemm<T>& g) {
    return g.a_row == 1 || g.a_column == 1 || g.k == 1;
}

// Panel after panel, each packed into L1 just before its use, or read in place by few rows.
template <class T>
void gemm_panels(const Gemm<T>& g) {
    constexpr std::int64_t n = kTileColumns<T>;
    alignas(64) T panel[kMaxInner * n];
    const bool in_place = g.b_column == 1 && g.m <= 2 * kTileRows;
    InnerBlocks(1, g.k).each([&](const InnerBlock& block) {
        const std::int64_t k = block.offset;
        for (std::int64_t j = 0; j < g.n; j += n) {
            const T* b = g.b + k * g.b_row + j * g.b_column;
            if (in_place && g.n - j >= n) {
                multiply_panel(g, k, block.length, j, RightPanel<T>{b, g.b_row},
                               static_cast<const T*>(nullptr));
            } else {
                pack_panel(b, g.b_row, g.b_column, block.length, g.n - j, panel);
                multiply_panel(g, k, block.length, j, RightPanel<T>{panel, n},
                               static_cast<const T*>(nullptr));
            }
        }
    });
}

// Large products: the whole right operand is packed first, then blocks of rows are independent.
template <class T>
void gemm_packed(const Gemm<T>& g) {
    constexpr std::int64_t n = kTileColumns<T>;
    const InnerBlocks blocks(1, g.k);
    const std::int64_t panels = ceil_div(g.n, n);
    Workspace packed_space(static_cast<std::size_t>(g.k * panels * n) * sizeof(T));
    T* packed = packed_space.as<T>();
    parallel_ranges(panels, std::max<std::int64_t>(1, 65536 / (g.k * n)),
                    [&](std::int64_t begin, std::int64_t end) {
        blocks.each([&](const InnerBlock& block) {
            for (std::int64_t p = begin; p < end; ++p)
                pack_panel(g.b + block.offset * g.b_row + p * n * g.b_column, g.b_row, g.b_column,
                           block.length, g.n - p * n,
                           packed + (block.offset * panels + p * block.length) * n);
        });
    });
    const bool pack = !left_in_place(g) || (g.n >= 8 * n && g.k > 128);
    const double row_work = static_cast<double>(g.n) * static_cast<double>(g.k);
    const std::int64_t tiles = std::max<std::int64_t>(
        1, static_cast<std::int64_t>(kTaskWork / row_work / kTileRows));
    const std::int64_t rows = std::min(tiles * kTileRows, kBlockRows);
    parallel_for(ceil_div(g.m, rows), [&](std::int64_t task) {
        const Gemm<T> part = row_block(g, task * rows, rows);
        Workspace left_space(pack ? static_cast<std::size_t>(part.m * blocks.part) * sizeof(T) : 0);
        T* left = pack ? left_space.as<T>() : nullptr;
        blocks.each([&](const InnerBlock& block) {
            if (pack) pack_left(part, block.offset, block.length, left);
            for (std::int64_t p = 0; p < panels; ++p) {
                const T* b = packed + (block.offset * panels + p * block.length) * n;
                multiply_panel(part, block.offset, block.length, p * n, RightPanel<T>{b, n}, left);
            }
        });
    });
}

template <class T>
void gemm_whole(const Gemm<T>& g) {
    constexpr std::int64_t n = kTileColumns<T>;
    if (g.m <= kPanelRows && left_in_place(g)) {
        if (work(g) < kSerialWork) return gemm_panels(g);
        const double panel_work = static_cast<double>(g.m) * static_cast<double>(g.k) * n;
        const std::int64_t columns =
            n * std::max<std::int64_t>(1, static_cast<std::int64_t>(kSerialWork / panel_work));
        return parallel_for(ceil_div(g.n, columns), [&](std::int64_t task) {
            gemm_panels(column_block(g, task * columns, columns));
        });
    }
    const std::int64_t columns = std::max(
        n, kPackedBytes / static_cast<std::int64_t>(sizeof(T)) / g.k / n * n);
    for (std::int64_t j = 0; j < g.n; j += columns) gemm_packed(column_block(g, j, columns));
}

// How many separate ranges a long inner axis is summed in: more than one for the accuracy of very
// long sums, and where the output alone is too small to share out.
template <class T>
std::int64_t slot_count(const Gemm<T>& g) {
    if (g.k < kLongInner || (g.m * g.n > kSmallOutput && g.k < kVeryLongInner)) return 1;
    const std::int64_t fitting = kPackedBytes / static_cast<std::int64_t>(sizeof(T)) / (g.m * g.n);
    return std::max<std::int64_t>(1, std::min({kSlots, 2 * g.k / kLongInner, fitting}));
}

template <class T>
void gemm_slots(const Gemm<T>& g, std::int64_t slots) {
    const std::int64_t size = g.m * g.n;
    Workspace sums_space(static_cast<std::size_t>(slots * size) * sizeof(T));
    T* sums = sums_space.as<T>();
    const std::int64_t range = ceil_div(g.k, slots);
    parallel_for(slots, [&](std::int64_t slot) {
        Gemm<T> part = g;
        part.k = std::min(range, g.k - slot * range);
        part.a += slot * range * g.a_column;
        part.b += slot * range * g.b_row;
        part.c = sums + slot * size;
        part.c_row = g.n;
        part.bias = nullptr;
        part.accumulate = false;
        gemm_whole(part);
    });
    parallel_ranges(g.m, std::max<std::int64_t>(1, 16384 / g.n),
                    [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t step = 1; step < slots; step *= 2)
            for (std::int64_t s = 0; s + step < slots; s += 2 * step)
                for (std::int64_t i = begin * g.n; i < end * g.n; ++i)
                    sums[s * size + i] += sums[(s + step) * size + i];
        for (std::int64_t i = begin; i < end; ++i)
            for (std::int64_t j = 0; j < g.n; ++j) {
                T& c = g.c[i * g.c_row + j];
                const T sum = sums[i * g.n + j] + (g.bias ? g.bias[j] : T(0));
                c = g.accumulate ? c + sum : sum;
            }
    });
}

}  // namespace

template <class T>
void gemm_serial(const Gemm<T>& g) {
    if (g.k == 0) return fill(g);
    gemm_panels(g);
}

template <class T>
void gemm(const Gemm<T>& g) {
    if (g.m == 0 || g.n == 0) return;
    if (g.k == 0) return fill(g);
    const std::int64_t slots = slot_count(g);
    if (slots > 1)
        gemm_slots(g, slots);
    else
        gemm_whole(g);
}

template void gemm(const Gemm<float>&);
template void gemm(const Gemm<double>&);
template void gemm_serial(const Gemm<float>&);
template void gemm_serial(const Gemm<double>&);

}  // namespace babygrad::BABYGRAD_TARGET
