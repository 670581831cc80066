// How a reduction goes through memory.
//
// Rows of the reduced part are folded into a row of accumulators, one per column, in the order of
// memory. What a column takes from a row is one element, or a run of adjacent ones that are reduced
// in vectors. A result may have several columns, which are folded at the end:
//
//     kept axis innermost           columns are its elements
//     reduced axis innermost        columns are the results, a row of each is a run; or, where runs
//                                   would be short and come from far apart, all their elements
//     few columns, memory in order  several rows count as one
#pragma once

#include <cstdint>

#include "runtime/threads.h"
#include "runtime/view.h"

namespace babygrad::BABYGRAD_TARGET {
namespace {

constexpr std::int64_t kWidth = 64;       // columns that a narrow reduction is widened to
constexpr std::int64_t kColumns = 4096;   // of accumulators: fewer break the rows of memory up
constexpr std::int64_t kChunk = 1 << 15;  // elements per chunk
constexpr std::int64_t kMaxChunks = 64;   // of one reduction, as their results are joined serially

struct Axis {
    std::int64_t n, x, y;
};

struct Plan {
    Axis kept[kMaxDims], outer[kMaxDims];  // the loops around the columns and around the rows
    int kept_count = 0, outer_count = 0;
    std::int64_t kept_size = 1, row_count = 1, reduced = 1;
    Axis columns{1, 0, 0}, rows{1, 0, 0};
    std::int64_t tile = 1;  // columns at a time
    std::int64_t run = 1;   // elements of a row that a column takes
    bool runs = false;      // which are reduced together
    std::int64_t rest = 0;  // after an axis' last whole row: elements of runs, or columns
    std::int64_t fold = 1;  // columns per result, `step` apart
    std::int64_t step = 1;
};

Axis take_last(Axis* axes, int& count) { return axes[--count]; }

// Makes rows of `count` of the n steps of an axis.
void cut_rows(Plan& plan, std::int64_t n, std::int64_t step, std::int64_t count) {
    plan.rows = {n / count, count * step, 0};
    plan.rest = n % count;
}

// The columns and rows inside the loops over plan.kept and plan.outer.
void choose_columns(Plan& plan, Axis inner, bool next_kept, bool adjacent, bool in_vectors) {
    const bool is_short = inner.n < 2 * kWidth;
    const Axis next = next_kept ? plan.kept[plan.kept_count - 1] : Axis{1, 0, 0};
    plan.runs = inner.y == 0 && adjacent && (is_short ? plan.outer_count == 0 : in_vectors);
    if (inner.y != 0) {
        plan.columns = inner;
    } else if (plan.runs) {
        if (next_kept) plan.columns = take_last(plan.kept, plan.kept_count);
        plan.run = inner.n < kChunk ? inner.n : kChunk;
        if (inner.n > kChunk) return cut_rows(plan, inner.n, inner.x, kChunk);
    } else if (is_short && next_kept && next.x == inner.n * inner.x) {
        --plan.kept_count;
        plan.columns = {next.n * inner.n, inner.x, next.y};
        plan.fold = inner.n;
    } else if (is_short) {
        plan.columns = inner;
        plan.fold = inner.n;
    } else {
        plan.columns = {1, inner.x, 0};
        plan.rows = inner;
    }
    if (plan.rows.n == 1 && plan.outer_count > 0)
        plan.rows = take_last(plan.outer, plan.outer_count);
    const std::int64_t n = plan.columns.n;
    if (!plan.runs && plan.fold == 1 && n < kWidth && plan.rows.x == n * plan.columns.x &&
        plan.rows.n * n >= 2 * kWidth) {
        plan.fold = kWidth / n;
        plan.step = n;
        plan.columns.n = n * plan.fold;
        cut_rows(plan, plan.rows.n, plan.rows.x, plan.fold);
        plan.rest *= n;
    }
}

Plan make_plan(const View& x, const View& y, bool in_vectors) {
    const View* const views[] = {&x, &y};
    const Nest nest = make_nest(views, 2, 2);
    Plan plan;
    const auto axis = [&](int i) {
        return Axis{nest.shape[i], nest.strides[i][0], nest.strides[i][1]};
    };
    const int inner = nest.ndim - 1;
    for (int i = 0; i < inner; ++i) {
        const bool is_kept = axis(i).y != 0;
        (is_kept ? plan.kept[plan.kept_count++] : plan.outer[plan.outer_count++]) = axis(i);
    }
    for (int i = 0; i <= inner; ++i)
        if (axis(i).y == 0) plan.reduced *= axis(i).n;
    const bool next_kept = inner > 0 && axis(inner - 1).y != 0;
    choose_columns(plan, axis(inner), next_kept, axis(inner).x == itemsize(x.dtype), in_vectors);
    for (int i = 0; i < plan.kept_count; ++i) plan.kept_size *= plan.kept[i].n;
    plan.row_count = plan.rows.n;
    for (int i = 0; i < plan.outer_count; ++i) plan.row_count *= plan.outer[i].n;
    const std::int64_t in_chunk = plan.runs ? kChunk / plan.run : kColumns;
    const std::int64_t most = in_chunk < kColumns ? in_chunk : kColumns;
    const std::int64_t block = plan.fold * plan.step;
    plan.tile = plan.columns.n < most ? plan.columns.n : most / block * block;
    return plan;
}

std::int64_t offset(const Axis* axes, int count, std::int64_t index, std::int64_t Axis::* step) {
    std::int64_t result = 0;
    for (int i = count - 1; i > 0; --i) {
        result += index % axes[i].n * (axes[i].*step);
        index /= axes[i].n;
    }
    return count > 0 ? result + index * (axes[0].*step) : 0;
}

// How many of `count` rows of n elements one chunk has.
std::int64_t chunk_of(std::int64_t count, std::int64_t n) {
    const std::int64_t least = ceil_div(count, kMaxChunks), even = n < kChunk ? kChunk / n : 1;
    return even > least ? even : least;
}

// Calls body(x, y, n, split) for every tile of n columns: in parallel, or, where the tiles are few
// and large, one after another with `split`, to go over the rows in parallel.
template <class Body>
void each_tile(const Plan& plan, const View& x, const View& y, const Body& body) {
    const std::int64_t tile = plan.tile, tiles = ceil_div(plan.columns.n, tile);
    const std::int64_t units = plan.kept_size * tiles, work = plan.row_count * tile * plan.run;
    const auto unit = [&](std::int64_t i, bool split) {
        const std::int64_t k = i / tiles, first = i % tiles * tile, left = plan.columns.n - first;
        const std::int64_t x_offset = offset(plan.kept, plan.kept_count, k, &Axis::x);
        const std::int64_t y_offset = offset(plan.kept, plan.kept_count, k, &Axis::y);
        body(x.data + x_offset + first * plan.columns.x,
             y.data + y_offset + first / plan.fold * plan.columns.y, left < tile ? left : tile,
             split);
    };
    if (units <= 8 && work >= 2 * kChunk) {
        for (std::int64_t i = 0; i < units; ++i) unit(i, true);
        return;
    }
    parallel_ranges(units, work < kChunk ? kChunk / work : 1, [&](std::int64_t a, std::int64_t b) {
        for (std::int64_t i = a; i < b; ++i) unit(i, false);
    });
}

}  // namespace
}  // namespace babygrad::BABYGRAD_TARGET
