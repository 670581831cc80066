// Reductions. Sums and products of float32 are kept in float64, so a sum of 2^25 ones is exact;
// float64 sums run in 64 partial sums, in blocks of 32 rows. A reduction is a column walk: rows of
// the reduced part are folded into a row of accumulators, four at a time; one along contiguous
// memory cuts it into rows of 64. Where it can be written in vectors, and for short lines, it goes
// by runs of adjacent elements instead. Cost: memory bandwidth.
#include "kernels/reduce.h"

#include "kernels/reduce_run.h"
#include "memory.h"
#include "targets/targets.h"
#include "threads.h"

namespace babygrad::BABYGRAD_TARGET {
namespace {

using Byte = std::uint8_t;

constexpr std::int64_t kWidth = 64;           // columns that a contiguous reduction is cut into
constexpr std::int64_t kColumns = 4096;       // of accumulators, so that memory is read in long runs
constexpr std::int64_t kBlock = 32;           // rows folded before they join the total
constexpr std::int64_t kChunk = 1 << 15;      // elements per chunk
constexpr std::int64_t kMaxChunks = 64;       // of one reduction, as their results are joined serially

struct Axis {
    std::int64_t n, x, y;
};

// The loops of one reduction: `columns` beside each other, `rows` of them, at every position of the
// outer reduced axes, for every position of the kept axes.
struct Plan {
    Axis kept[kMaxDims], outer[kMaxDims];
    int kept_count = 0, outer_count = 0;
    std::int64_t kept_size = 1, outer_size = 1;
    Axis columns{1, 0, 0}, rows{1, 0, 0};
    std::int64_t rest = 0;  // columns after the last whole row of a contiguous reduction
    bool folds = false;     // the columns are reduced, too
    bool runs = false;      // and are adjacent elements, which are reduced one run after another
};

Plan make_plan(const View& x, const View& y, bool in_vectors) {
    const View* const views[] = {&x, &y};
    const Nest nest = make_nest(views, 2);
    Plan plan;
    const int inner = nest.ndim - 1;
    for (int i = 0; i < inner; ++i) {
        const Axis axis{nest.shape[i], nest.strides[i][0], nest.strides[i][1]};
        if (axis.y != 0) {
            plan.kept[plan.kept_count++] = axis;
            plan.kept_size *= axis.n;
        } else {
            plan.outer[plan.outer_count++] = axis;
        }
    }
    plan.columns = {nest.shape[inner], nest.strides[inner][0], nest.strides[inner][1]};
    plan.folds = plan.columns.y == 0;
    const bool adjacent = plan.folds && plan.columns.x == itemsize(x.dtype) && plan.columns.n > 0;
    const bool is_short = plan.columns.n < 2 * kWidth;
    plan.runs = adjacent && (is_short ? plan.outer_count == 0 : in_vectors);
    if (plan.folds && !plan.runs && !is_short) {
        const std::int64_t step = plan.columns.x, n = plan.columns.n;
        plan.rows = {n / kWidth, kWidth * step, 0};
        plan.rest = n % kWidth;
        plan.columns.n = kWidth;
    } else if (plan.outer_count > 0 && !plan.runs) {
        plan.rows = plan.outer[--plan.outer_count];
    }
    for (int i = 0; i < plan.outer_count; ++i) plan.outer_size *= plan.outer[i].n;
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

template <class R, class T>
void enter_row(typename R::Acc* acc, const char* x, std::int64_t step, std::int64_t n) {
    if (step == sizeof(T)) {
        const T* p = reinterpret_cast<const T*>(x);
        for (std::int64_t j = 0; j < n; ++j) acc[j] = R::join(acc[j], R::enter(p[j]));
    } else {
        for (std::int64_t j = 0; j < n; ++j)
            acc[j] = R::join(acc[j], R::enter(*reinterpret_cast<const T*>(x + j * step)));
    }
}

template <class R, class T>
void enter_rows(typename R::Acc* acc, const char* x, std::int64_t row_step, std::int64_t rows,
                std::int64_t step, std::int64_t n) {
    std::int64_t i = 0;
    if (step == sizeof(T)) {
        for (; i + 4 <= rows; i += 4) {
            const T* a = reinterpret_cast<const T*>(x + i * row_step);
            const T* b = reinterpret_cast<const T*>(x + (i + 1) * row_step);
            const T* c = reinterpret_cast<const T*>(x + (i + 2) * row_step);
            const T* d = reinterpret_cast<const T*>(x + (i + 3) * row_step);
            for (std::int64_t j = 0; j < n; ++j)
                acc[j] = R::join(acc[j], R::join(R::join(R::enter(a[j]), R::enter(b[j])),
                                                 R::join(R::enter(c[j]), R::enter(d[j]))));
        }
    }
    for (; i < rows; ++i) enter_row<R, T>(acc, x + i * row_step, step, n);
}

// Folds the rows [begin, end), counted over the outer reduced axes, of `n` columns at x into acc.
template <class R, class T>
void enter_range(const Plan& plan, typename R::Acc* acc, const char* x, std::int64_t n,
                 std::int64_t begin, std::int64_t end) {
    while (begin < end) {
        const std::int64_t first = begin % plan.rows.n;
        const std::int64_t left = plan.rows.n - first;
        const std::int64_t rows = left < end - begin ? left : end - begin;
        const char* p = x + offset(plan.outer, plan.outer_count, begin / plan.rows.n, &Axis::x);
        enter_rows<R, T>(acc, p + first * plan.rows.x, plan.rows.x, rows, plan.columns.x, n);
        if (plan.rest > 0 && first + rows == plan.rows.n)
            enter_row<R, T>(acc, p + plan.rows.n * plan.rows.x, plan.columns.x, plan.rest);
        begin += rows;
    }
}

// The same from nothing, in blocks, so that rounding errors grow with the number of blocks.
template <class R, class T>
void reduce_range(const Plan& plan, typename R::Acc* acc, const char* x, std::int64_t n,
                  std::int64_t begin, std::int64_t end) {
    const auto clear = [n](typename R::Acc* a) {
        for (std::int64_t j = 0; j < n; ++j) a[j] = R::start();
    };
    clear(acc);
    if (end - begin <= kBlock) return enter_range<R, T>(plan, acc, x, n, begin, end);
    typename R::Acc block[kColumns];
    for (; begin < end; begin += kBlock) {
        clear(block);
        enter_range<R, T>(plan, block, x, n, begin, begin + kBlock < end ? begin + kBlock : end);
        for (std::int64_t j = 0; j < n; ++j) acc[j] = R::join(acc[j], block[j]);
    }
}

template <class R, class Out>
void finish(const Plan& plan, typename R::Acc* acc, char* y, std::int64_t n) {
    if (plan.folds) {
        if (n == kWidth) {  // the loop below with constant lengths, which become vector code
            for (std::int64_t half = kWidth / 2; half > 0; half /= 2)
                for (std::int64_t j = 0; j < half; ++j) acc[j] = R::join(acc[j], acc[j + half]);
            n = 1;
        }
        for (; n > 1; n = (n + 1) / 2)
            for (std::int64_t j = 0; j < n / 2; ++j)
                acc[j] = R::join(acc[j], acc[j + (n + 1) / 2]);
    }
    for (std::int64_t j = 0; j < n; ++j)
        *reinterpret_cast<Out*>(y + j * plan.columns.y) = static_cast<Out>(acc[j]);
}

// How many of `count` rows, or pieces of runs, of n elements one chunk has.
std::int64_t chunk_of(std::int64_t count, std::int64_t n) {
    const std::int64_t least = ceil_div(count, kMaxChunks), even = n < kChunk ? kChunk / n : 1;
    return even > least ? even : least;
}

// A few large reductions: the rows are cut into chunks, whose results are joined in order.
template <class R, class T, class Out>
void reduce_split(const Plan& plan, const char* x, char* y, std::int64_t n) {
    using Acc = typename R::Acc;
    const std::int64_t rows = plan.outer_size * plan.rows.n;
    const std::int64_t grain = chunk_of(rows, n), chunks = ceil_div(rows, grain);
    const Workspace workspace(static_cast<std::size_t>(chunks * n) * sizeof(Acc));
    Acc* partial = workspace.as<Acc>();
    parallel_ranges(rows, grain, [&](std::int64_t begin, std::int64_t end) {
        reduce_range<R, T>(plan, partial + begin / grain * n, x, n, begin, end);
    });
    for (std::int64_t i = 1; i < chunks; ++i)
        for (std::int64_t j = 0; j < n; ++j) partial[j] = R::join(partial[j], partial[i * n + j]);
    finish<R, Out>(plan, partial, y, n);
}

// Every result is joined from the pieces of its runs, in order; a few large results from chunks of
// pieces.
template <class R, class T, class Out>
void reduce_runs(const Plan& plan, const View& x, const View& y) {
    using Acc = typename R::Acc;
    const std::int64_t n = plan.columns.n, piece = n < kChunk ? n : kChunk;
    const std::int64_t cuts = ceil_div(n, piece), pieces = plan.outer_size * cuts;
    const auto range = [&](std::int64_t unit, std::int64_t begin, std::int64_t end) {
        const char* from = x.data + offset(plan.kept, plan.kept_count, unit, &Axis::x);
        Acc acc = R::start();
        for (std::int64_t i = begin; i < end; ++i) {
            const std::int64_t place = cuts == 1 ? i : i / cuts;
            const std::int64_t first = (i - place * cuts) * piece, left = n - first;
            const char* run = from + offset(plan.outer, plan.outer_count, place, &Axis::x);
            acc = R::join(acc, reduce_run<R>(reinterpret_cast<const T*>(run) + first,
                                             left < piece ? left : piece));
        }
        return acc;
    };
    const auto put = [&](std::int64_t unit, Acc acc) {
        char* to = y.data + offset(plan.kept, plan.kept_count, unit, &Axis::y);
        *reinterpret_cast<Out*>(to) = static_cast<Out>(acc);
    };
    if (plan.kept_size > 8 || pieces * piece < 2 * kChunk) {
        const std::int64_t work = pieces * piece;
        return parallel_ranges(plan.kept_size, work < kChunk ? kChunk / work : 1,
                               [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t i = begin; i < end; ++i) put(i, range(i, 0, pieces));
        });
    }
    const std::int64_t grain = chunk_of(pieces, piece), chunks = ceil_div(pieces, grain);
    const Workspace workspace(static_cast<std::size_t>(chunks) * sizeof(Acc));
    Acc* partial = workspace.as<Acc>();
    for (std::int64_t unit = 0; unit < plan.kept_size; ++unit) {
        parallel_ranges(pieces, grain, [&](std::int64_t begin, std::int64_t end) {
            partial[begin / grain] = range(unit, begin, end);
        });
        for (std::int64_t i = 1; i < chunks; ++i) partial[0] = R::join(partial[0], partial[i]);
        put(unit, partial[0]);
    }
}

template <class R, class T, class Out>
void reduce(const View& x, const View& y, unsigned) {
    const Plan plan = make_plan(x, y, Vectors<R, T>::exist);
    if (plan.runs) return reduce_runs<R, T, Out>(plan, x, y);
    const std::int64_t columns = plan.columns.n, rows = plan.outer_size * plan.rows.n;
    const std::int64_t tile = columns < kColumns ? columns : kColumns;
    const std::int64_t tiles = ceil_div(columns, tile), units = plan.kept_size * tiles;
    const auto unit = [&](std::int64_t i, auto&& body) {
        const std::int64_t k = i / tiles, first = i % tiles * tile;
        const std::int64_t n = columns - first < tile ? columns - first : tile;
        body(x.data + offset(plan.kept, plan.kept_count, k, &Axis::x) + first * plan.columns.x,
             y.data + offset(plan.kept, plan.kept_count, k, &Axis::y) + first * plan.columns.y, n);
    };
    if (units <= 8 && rows * tile >= 2 * kChunk) {
        for (std::int64_t i = 0; i < units; ++i)
            unit(i, [&](const char* px, char* py, std::int64_t n) {
                reduce_split<R, T, Out>(plan, px, py, n);
            });
        return;
    }
    const std::int64_t work = rows * tile;
    parallel_ranges(units, work < kChunk ? kChunk / work : 1, [&](std::int64_t a, std::int64_t b) {
        typename R::Acc acc[kColumns];
        for (std::int64_t i = a; i < b; ++i)
            unit(i, [&](const char* px, char* py, std::int64_t n) {
                reduce_range<R, T>(plan, acc, px, n, 0, rows);
                finish<R, Out>(plan, acc, py, n);
            });
    });
}

template <class T, bool largest>
std::int64_t arg_line(const char* x, std::int64_t step, std::int64_t n) {
    T best = *reinterpret_cast<const T*>(x);
    std::int64_t place = 0;
    for (std::int64_t i = 1; i < n && best == best; ++i) {
        const T value = *reinterpret_cast<const T*>(x + i * step);
        if ((largest ? value > best : value < best) || value != value) {
            best = value;
            place = i;
        }
    }
    return place;
}

template <class T, bool largest>
void arg_reduce(const View& x, const View& y) {
    const std::int64_t n = dim(x, -1), step = stride(x, -1);
    View lines = x;
    lines.ndim = y.ndim;
    const View* const views[] = {&lines, &y};
    const Nest nest = make_nest(views, 2);
    parallel_ranges(size_of(y), n < kChunk ? kChunk / n : 1, [&](std::int64_t a, std::int64_t b) {
        for (std::int64_t i = a; i < b; ++i) {
            char* data[kMaxOperands];
            nest_offsets(nest, nest.ndim, i, data);
            *reinterpret_cast<std::int64_t*>(data[1]) = arg_line<T, largest>(data[0], step, n);
        }
    });
}

template <class T>
void fill_type(ReduceKernels& table, DType dtype) {
    const auto slot = [&](Reduction r) -> ReduceFn& {
        return table.reduce[static_cast<int>(r)][static_cast<int>(dtype)];
    };
    constexpr bool floating = std::is_floating_point_v<T>;
    using Wide = std::conditional_t<floating, double, std::int64_t>;
    using Out = std::conditional_t<floating, T, std::int64_t>;
    slot(Reduction::sum) = reduce<Sum<Wide>, T, Out>;
    slot(Reduction::prod) = reduce<Prod<Wide>, T, Out>;
    slot(Reduction::max) = reduce<Max<T>, T, T>;
    slot(Reduction::min) = reduce<Min<T>, T, T>;
    if (floating) slot(Reduction::sum_of_squares) = reduce<SumOfSquares, T, double>;
    table.argmax[static_cast<int>(dtype)] = arg_reduce<T, true>;
    table.argmin[static_cast<int>(dtype)] = arg_reduce<T, false>;
}

}  // namespace

void fill(ReduceKernels& table) {
    table = {};
    fill_type<float>(table, DType::f32);
    fill_type<double>(table, DType::f64);
    fill_type<std::int32_t>(table, DType::i32);
    fill_type<std::int64_t>(table, DType::i64);
    fill_type<Byte>(table, DType::b8);
    const int bools = static_cast<int>(DType::b8);
    table.reduce[static_cast<int>(Reduction::any)][bools] = reduce<Max<Byte>, Byte, Byte>;
    table.reduce[static_cast<int>(Reduction::all)][bools] = reduce<Min<Byte>, Byte, Byte>;
}

}  // namespace babygrad::BABYGRAD_TARGET
