#include "runtime/loops.h"

#include <algorithm>

#include "runtime/threads.h"

namespace babygrad {
namespace {

// When an operand's elements are far apart along the inner axis, 64 columns of all rows are
// done before the next 64, so that the lines it touches are still in the cache for the next row.
constexpr std::int64_t kColumns = 64;

bool strided_inside(const LoopArgs& args, int operands) {
    for (int k = 0; k < operands; ++k)
        if (args.step[k] > 8 || args.step[k] < 0) return true;
    return false;
}

void run_block(Loop loop, LoopArgs args, int operands) {
    if (args.rows == 1 || !strided_inside(args, operands)) return loop(args);
    const std::int64_t n = args.n;
    for (std::int64_t begin = 0; begin < n; begin += kColumns) {
        args.n = std::min(kColumns, n - begin);
        loop(args);
        for (int k = 0; k < operands; ++k) args.data[k] += args.n * args.step[k];
    }
}

// A range of the rows of the two innermost axes, for every position of the outer ones.
void run_rows(Loop loop, const Nest& nest, std::int64_t begin, std::int64_t end,
              const double* params) {
    const int inner = nest.ndim - 1;
    const std::int64_t rows = inner > 0 ? nest.shape[inner - 1] : 1;
    while (begin < end) {
        LoopArgs args;
        nest_offsets(nest, inner, begin, args.data);
        for (int k = 0; k < nest.operands; ++k) {
            args.step[k] = nest.strides[inner][k];
            args.row_step[k] = inner > 0 ? nest.strides[inner - 1][k] : 0;
        }
        args.n = nest.shape[inner];
        args.rows = std::min(rows - begin % rows, end - begin);
        args.params = params;
        run_block(loop, args, nest.operands);
        begin += args.rows;
    }
}

// Splits a long inner axis into rows of `grain`; the caller does the remainder, whose first element
// it finds in `tail`.
bool split_inner(Nest& nest, std::int64_t grain, Nest& tail) {
    const int inner = nest.ndim - 1;
    if (nest.shape[inner] < 2 * grain || nest.ndim == kMaxDims) return false;
    const std::int64_t pieces = nest.shape[inner] / grain;
    tail = nest;
    tail.shape[inner] -= pieces * grain;
    for (int k = 0; k < nest.operands; ++k) {
        tail.data[k] += pieces * grain * nest.strides[inner][k];
        nest.strides[inner + 1][k] = nest.strides[inner][k];
        nest.strides[inner][k] *= grain;
    }
    nest.shape[inner] = pieces;
    nest.shape[inner + 1] = grain;
    ++nest.ndim;
    return tail.shape[inner] > 0;
}

bool repeats(const View& view) {
    for (int i = 0; i < view.ndim; ++i)
        if (view.shape[i] != 1 && view.strides[i] != 0) return false;
    return true;
}

std::int64_t row_count(const Nest& nest) {
    std::int64_t rows = 1;
    for (int i = 0; i + 1 < nest.ndim; ++i) rows *= nest.shape[i];
    return rows;
}

}  // namespace

void run_loop(Loop loop, const View* const* views, int count, std::int64_t grain,
              const double* params) {
    const std::int64_t total = size_of(*views[0]);
    if (total == 0) return;
    // In the output's order: an operand that lies in another is read far apart, none is written so.
    Nest nest = make_nest(views, count, 1), tail;
    if (total < 2 * grain) return run_rows(loop, nest, 0, row_count(nest), params);
    if (split_inner(nest, grain, tail)) run_rows(loop, tail, 0, row_count(tail), params);
    const std::int64_t rows_per_chunk =
        std::max<std::int64_t>(grain / nest.shape[nest.ndim - 1], 1);
    parallel_ranges(row_count(nest), rows_per_chunk, [&](std::int64_t begin, std::int64_t end) {
        run_rows(loop, nest, begin, end, params);
    });
}

void run_flat(Loop loop, const View* const* views, int count, std::int64_t grain,
              const double* params) {
    const std::int64_t total = size_of(*views[0]);
    LoopArgs args;
    args.rows = 1;
    args.params = params;
    args.n = total;
    for (int k = 0; k < count; ++k) {
        args.data[k] = views[k]->data;
        args.row_step[k] = 0;
        args.step[k] = itemsize(views[k]->dtype);
        // A repeated element: a 0-d operand broadcast, so all its strides are 0.
        if (views[k]->ndim > 0 && total > 1 && repeats(*views[k])) args.step[k] = 0;
    }
    if (total < 2 * grain) return loop(args);
    parallel_ranges(total, grain, [&](std::int64_t begin, std::int64_t end) {
        LoopArgs part = args;
        part.n = end - begin;
        for (int k = 0; k < count; ++k) part.data[k] += begin * args.step[k];
        loop(part);
    });
}

}  // namespace babygrad
