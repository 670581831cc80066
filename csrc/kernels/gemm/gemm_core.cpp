#include "kernels/gemm/gemm_core.h"

#include <algorithm>
#include <cstdlib>

#include "kernels/gemm/pack.h"
#include "runtime/memory.h"
#include "runtime/threads.h"

namespace babygrad::BABYGRAD_TARGET {
namespace {

// Below this many multiply-adds a job stays on the calling thread (about 6 us at the peak).
constexpr double kSerialWork = 256e3;
// A task of a large job is at least about this many, and there are about kMinTasks of them.
constexpr double kTaskWork = 1e6;
constexpr std::int64_t kMinTasks = 16;
// Rows of the left operand that stay in L2 beside the panels. Twice as many where the right operand is
// so large that every block of rows reads it from memory: 2 % faster at 2048 square, 6 to 9 % at 3000;
// slower by 1 to 3 % elsewhere.
constexpr std::int64_t kBlockRows = 96;
constexpr std::int64_t kFarElements = 3 << 20;
// With few rows, or little work, every task packs its own panels instead of sharing packed ones.
constexpr std::int64_t kFewRows = 48;
constexpr std::int64_t kPanelRows = 192;
constexpr double kPanelWork = 8e6;
// In a large product, a task of up to this many rows has all of them and packs its own panels: 5 to
// 30 % faster on two threads, which otherwise wait for each other and for memory; on one 3 % slower.
constexpr std::int64_t kOwnRows = 256;
// The left operand is packed when a task uses it for this many panels: 3 to 5 % faster from 1024
// columns on, 5 to 10 % slower at 512.
constexpr std::int64_t kPackLeftPanels = 48;
// A transposed one, of which a tile touches a line of memory for each inner index, from this many
// on: 10 to 40 % faster.
constexpr std::int64_t kPackTransposedPanels = 3;
// Panels packed together, so that a right operand in memory is read in long runs.
constexpr std::int64_t kPackPanels = 8;
constexpr std::int64_t kPackParts = 4;
// A panel whose rows lie within this many bytes is as good as packed.
constexpr std::int64_t kPanelBytes = 8192;
// A right operand of at most this many elements is taken to be in the cache.
constexpr std::int64_t kNearElements = 1 << 17;
// Bound on the memory of the packed right operand, and on that of separate sums.
constexpr std::int64_t kPackedBytes = 32 << 20;
// An inner axis longer than this is summed in pieces when the output is small; a very long one,
// always. 100 blocks added one by one to a constant sum would be off by 1e-5.
constexpr std::int64_t kLongInner = 4096;
constexpr std::int64_t kVeryLongInner = 32768;
constexpr std::int64_t kSmallOutput = 65536;
constexpr std::int64_t kSlots = 16;

template <class T>
double work(const Gemm<T>& g) {
    return static_cast<double>(g.m) * static_cast<double>(g.n) * static_cast<double>(g.k);
}

// Tiles of the left operand, packed: that of the rows from i on begins at data + i * pitch.
template <class T>
struct PackedLeft {
    const T* data;
    std::int64_t pitch;
};

// All rows times one panel of one block of the inner axis.
template <class T>
void multiply_panel(const Gemm<T>& g, std::int64_t k, std::int64_t length, std::int64_t j,
                    const RightPanel<T>& right, const PackedLeft<T>& left) {
    const bool first = k == 0;
    const std::int64_t width = g.n - j;
    const T* bias = first && g.bias ? g.bias + j : nullptr;
    each_tile(g.m, [&](std::int64_t i, int rows) {
        const OutMatrix<T> out{g.c + i * g.c_row + j, g.c_row, bias, g.accumulate || !first};
        if (left.data) {
            any_tile(rows, width, LeftStrided<T>{left.data + i * left.pitch, rows, length}, right,
                     out);
        } else if (g.a_row == 1 && g.a_column != 1) {
            any_tile(rows, width, LeftStrided<T>{g.a + i + k * g.a_column, g.a_column, length},
                     right, out);
        } else if (g.a_column != 1) {
            alignas(64) T tile[kMaxInner * kTileRows];
            pack_tile(g.a + i * g.a_row + k * g.a_column, g.a_row, g.a_column, rows, length, tile);
            any_tile(rows, width, LeftStrided<T>{tile, rows, length}, right, out);
        } else {
            any_tile(rows, width, LeftMatrix<T>{g.a + i * g.a_row + k, g.a_row, length}, right,
                     out);
        }
    });
    // The panel's part of the output is still in L1.
    if (k + length == g.k)
        activate(g.activation, g.c + j, g.c_row, g.m,
                 std::min<std::int64_t>(width, kTileColumns<T>));
}

template <class T>
void pack_left(const Gemm<T>& g, std::int64_t k, std::int64_t length, std::int64_t pitch, T* out) {
    if (g.a_row != 1) {
        each_tile(g.m, [&](std::int64_t i, int rows) {
            pack_tile(g.a + i * g.a_row + k * g.a_column, g.a_row, g.a_column, rows, length,
                      out + i * pitch);
        });
        return;
    }
    pack_tiles([&](std::int64_t l) { return g.a + (k + l) * g.a_column; }, g.m, length, pitch, out);
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

// An empty inner axis: c = activation(bias (+ c)).
template <class T>
void fill(const Gemm<T>& g) {
    for (std::int64_t i = 0; i < g.m; ++i)
        for (std::int64_t j = 0; j < g.n; ++j) {
            const T value = g.bias ? g.bias[j] : T(0);
            T& c = g.c[i * g.c_row + j];
            c = g.accumulate ? c + value : value;
        }
    activate(g.activation, g.c, g.c_row, g.m, g.n);
}

template <class T>
bool left_in_place(const Gemm<T>& g) {
    return g.a_row == 1 || g.a_column == 1 || g.k == 1;
}

// Whether panels of the right operand are read where they lie: by few rows, or a small part of L1.
template <class T>
bool right_in_place(const Gemm<T>& g) {
    if (g.b_column != 1) return false;
    const std::int64_t spread = g.k * std::abs(g.b_row) * static_cast<std::int64_t>(sizeof(T));
    return spread <= kPanelBytes || (g.m <= 2 * kTileRows && g.n * g.k <= kNearElements);
}

// A few panels at a time, packed just before their use, or read in place.
template <class T>
void gemm_panels(const Gemm<T>& g) {
    constexpr std::int64_t n = kTileColumns<T>;
    const bool in_place = right_in_place(g);
    const std::int64_t group = g.n * g.k > kNearElements ? kPackPanels : 1;
    alignas(64) T one[kMaxInner * n];
    Workspace space(group > 1 ? static_cast<std::size_t>(group * kMaxInner * n) * sizeof(T) : 0);
    T* packed = group > 1 ? space.as<T>() : one;
    const PackedLeft<T> no_left{};
    InnerBlocks(1, g.k).each([&](const InnerBlock& block) {
        const std::int64_t k = block.offset;
        for (std::int64_t j = 0; j < g.n; j += group * n) {
            const T* b = g.b + k * g.b_row + j * g.b_column;
            if (in_place && g.n - j >= n) {
                multiply_panel(g, k, block.length, j, RightPanel<T>{b, g.b_row}, no_left);
                continue;
            }
            const std::int64_t panels = std::min(group, ceil_div(g.n - j, n));
            pack_panels(b, g.b_row, g.b_column, block.length, g.n - j, panels, packed);
            for (std::int64_t p = 0; p < panels; ++p)
                multiply_panel(g, k, block.length, j + p * n,
                               RightPanel<T>{packed + p * block.length * n, n}, no_left);
        }
    });
}

// Large products: the whole right operand is packed first, then blocks of rows are independent. A
// task that has all rows packs its own panels, just before their use.
template <class T>
struct PackedGemm {
    static constexpr std::int64_t n = kTileColumns<T>;

    const Gemm<T>& g;
    bool in_task;  // of a larger job, in which nobody is there to share out rows or panels to
    InnerBlocks blocks;
    // A task has one of `row_blocks` blocks of rows and one of `parts` of the panels.
    std::int64_t panels, row_blocks, parts;
    bool copy;                         // of the left operand
    Workspace space;

    PackedGemm(const Gemm<T>& gemm, bool part)
        : g(gemm), in_task(part), blocks(1, g.k), panels(ceil_div(g.n, n)),
          row_blocks(g.m <= kOwnRows && (in_task || panels >= kMinTasks) ? 1 : wanted_blocks()),
          parts(even_parts(panels, wanted_tasks() / row_blocks)),
          copy(!left_in_place(g) || pays_to_copy()),
          space(static_cast<std::size_t>(right_size() + (shares_left() ? left_size() : 0)) *
                sizeof(T)) {}

    // About `count` parts, none of them empty.
    static std::int64_t even_parts(std::int64_t items, std::int64_t count) {
        return ceil_div(items, ceil_div(items, std::clamp<std::int64_t>(count, 1, items)));
    }
    // All of one size but for a tile.
    std::int64_t wanted_blocks() const {
        const std::int64_t most = g.n * g.k > kFarElements ? 2 * kBlockRows : kBlockRows;
        const std::int64_t rows =
            std::clamp(ceil_div(g.m, kMinTasks * kTileRows) * kTileRows, kBlockRows / 2, most);
        return even_blocks(ceil_div(g.m, rows));
    }
    std::int64_t first_row(std::int64_t block) const {
        return std::min(g.m, block * ceil_div(g.m, kTileRows) / row_blocks * kTileRows);
    }
    std::int64_t wanted_tasks() const {
        return in_task ? 1 : std::min(kMinTasks, static_cast<std::int64_t>(work(g) / kTaskWork) + 1);
    }
    bool pays_to_copy() const {
        const bool transposed = g.a_row == 1 && g.a_column != 1;
        const std::int64_t used = panels / parts;
        return transposed ? panels >= kPackTransposedPanels : used >= kPackLeftPanels && g.k > 128;
    }
    // Whether the left operand is packed once for all tasks, because several need each row.
    bool shares_left() const {
        return copy && parts > 1 && left_size() <= kPackedBytes / std::int64_t{sizeof(T)};
    }

    bool shares_right() const { return row_blocks > 1; }
    std::int64_t right_size() const { return shares_right() ? g.k * panels * n : 0; }

    std::int64_t pitch() const { return left_pitch<T>(blocks.part); }
    std::int64_t left_size() const { return ceil_div(g.k, blocks.part) * g.m * pitch(); }
    T* panel(const InnerBlock& block, std::int64_t p) const {
        return space.as<T>() + (block.offset * panels + p * block.length) * n;
    }
    T* shared_left(const InnerBlock& block, std::int64_t row) const {
        return space.as<T>() + right_size() +
               (block.offset / blocks.part * g.m + row) * pitch();
    }

    void pack_right(const InnerBlock& block, std::int64_t begin, std::int64_t end, T* out) const {
        pack_panels(g.b + block.offset * g.b_row + begin * n * g.b_column, g.b_row, g.b_column,
                    block.length, g.n - begin * n, end - begin, out);
    }

    void pack() const {
        const std::int64_t inner_blocks = ceil_div(g.k, blocks.part);
        const auto block_of = [&](std::int64_t task) {
            return blocks.find(task % inner_blocks * blocks.part);
        };
        if (shares_right()) {
            const std::int64_t group = std::min(kPackPanels, ceil_div(panels, kPackParts));
            parallel_for(ceil_div(panels, group) * inner_blocks, [&](std::int64_t task) {
                const std::int64_t begin = task / inner_blocks * group;
                const InnerBlock block = block_of(task);
                pack_right(block, begin, std::min(panels, begin + group), panel(block, begin));
            });
        }
        if (!shares_left()) return;
        parallel_for(row_blocks * inner_blocks, [&](std::int64_t task) {
            const InnerBlock block = block_of(task);
            const std::int64_t i = task / inner_blocks, row = first_row(i);
            pack_left(row_block(g, row, first_row(i + 1) - row), block.offset, block.length, pitch(),
                      shared_left(block, row));
        });
    }

    void run(std::int64_t task) const {
        const std::int64_t row = first_row(task / parts), part = ceil_div(panels, parts);
        const std::int64_t rows = first_row(task / parts + 1) - row;
        const std::int64_t begin = task % parts * part, end = std::min(panels, begin + part);
        const Gemm<T> block_rows = row_block(g, row, rows);
        const bool own = copy && !shares_left();
        Workspace own_space(own ? static_cast<std::size_t>(rows * pitch()) * sizeof(T) : 0);
        const std::int64_t own_panels = shares_right() ? 0 : (end - begin) * blocks.part * n;
        Workspace own_right(static_cast<std::size_t>(own_panels) * sizeof(T));
        blocks.each([&](const InnerBlock& block) {
            PackedLeft<T> left{nullptr, pitch()};
            if (own) {
                pack_left(block_rows, block.offset, block.length, pitch(), own_space.as<T>());
                left.data = own_space.as<T>();
            } else if (copy) {
                left.data = shared_left(block, row);
            }
            const T* right = shares_right() ? panel(block, begin) : own_right.as<T>();
            if (!shares_right()) pack_right(block, begin, end, own_right.as<T>());
            for (std::int64_t p = begin; p < end; ++p, right += block.length * n)
                multiply_panel(block_rows, block.offset, block.length, p * n,
                               RightPanel<T>{right, n}, left);
        });
    }
};

template <class T>
void gemm_packed(const Gemm<T>& g, bool in_task) {
    const PackedGemm<T> packed(g, in_task);
    packed.pack();
    parallel_for(packed.row_blocks * packed.parts, [&](std::int64_t task) { packed.run(task); });
}

template <class T>
void gemm_whole(const Gemm<T>& g, bool in_task = false) {
    constexpr std::int64_t n = kTileColumns<T>;
    if (work(g) < kSerialWork) return gemm_panels(g);
    if (g.m <= kPanelRows && left_in_place(g) && (g.m <= kFewRows || work(g) < kPanelWork)) {
        if (in_task) return gemm_panels(g);
        const double panel_work = static_cast<double>(g.m) * static_cast<double>(g.k) * n;
        const std::int64_t least = g.n * g.k > kNearElements ? kPackPanels : 1;
        const std::int64_t columns =
            n * std::max(least, static_cast<std::int64_t>(kSerialWork / panel_work));
        return parallel_for(ceil_div(g.n, columns), [&](std::int64_t task) {
            gemm_panels(column_block(g, task * columns, columns));
        });
    }
    const std::int64_t columns = std::max(
        n, kPackedBytes / static_cast<std::int64_t>(sizeof(T)) / g.k / n * n);
    for (std::int64_t j = 0; j < g.n; j += columns) gemm_packed(column_block(g, j, columns), in_task);
}

// How many separate ranges a long inner axis is summed in: more than one for the accuracy of very
// long sums, and where the output alone is too small to share out.
template <class T>
std::int64_t slot_count(const Gemm<T>& g) {
    if (g.k < kLongInner / 2 || (g.m * g.n > kSmallOutput && g.k < kVeryLongInner)) return 1;
    const std::int64_t fitting = kPackedBytes / static_cast<std::int64_t>(sizeof(T)) / (g.m * g.n);
    return std::max<std::int64_t>(1, std::min({kSlots, 4 * g.k / kLongInner, fitting}));
}

template <class T>
void gemm_slots(const Gemm<T>& g, std::int64_t slots) {
    const std::int64_t size = g.m * g.n;
    Workspace sums_space(static_cast<std::size_t>(slots * size) * sizeof(T));
    T* sums = sums_space.as<T>();
    const std::int64_t range = ceil_div(g.k, slots);
    parallel_for(slots, [&](std::int64_t slot) {
        const std::int64_t end = std::min(g.k, (slot + 1) * range);
        T* sum = sums + slot * size;
        for (std::int64_t k = slot * range; k < end; k += kLongInner) {
            const bool first = k == slot * range;
            Workspace space(first ? 0 : static_cast<std::size_t>(size) * sizeof(T));
            Gemm<T> part = g;
            part.k = std::min(kLongInner, end - k);
            part.a += k * g.a_column;
            part.b += k * g.b_row;
            part.c = first ? sum : space.template as<T>();
            part.c_row = g.n;
            part.bias = nullptr;
            part.accumulate = false;
            part.activation = nullptr;
            gemm_whole(part, true);
            for (std::int64_t i = 0; !first && i < size; ++i) sum[i] += part.c[i];
        }
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
        activate(g.activation, g.c + begin * g.c_row, g.c_row, end - begin, g.n);
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
