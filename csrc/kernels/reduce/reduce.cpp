// Reductions. Sums and products of float32 are kept in float64, so a sum of 2^25 ones is exact;
// float64 sums run in blocks of 64 rows, or of 32 vectors. reduce_plan.h says how memory is walked:
// rows are folded into a row of accumulators, four at a time or run by run. Cost: memory bandwidth.
#include "kernels/reduce/reduce.h"

#include "kernels/reduce/reduce_plan.h"
#include "kernels/reduce/reduce_run.h"
#include "runtime/memory.h"

namespace babygrad::BABYGRAD_TARGET {
namespace {

using Byte = std::uint8_t;

constexpr int kRows = 4;
constexpr std::int64_t kBlock = 64;  // rows folded before they join the total

template <class R, class T, class... C>
void enter_row(typename R::Acc* acc, const char* x, std::int64_t step, std::int64_t n,
               C... centre) {
    if (step == sizeof(T)) {
        const T* p = reinterpret_cast<const T*>(x);
        for (std::int64_t j = 0; j < n; ++j) acc[j] = R::join(acc[j], R::enter(p[j], centre[j]...));
    } else {
        for (std::int64_t j = 0; j < n; ++j)
            acc[j] = R::join(acc[j],
                             R::enter(*reinterpret_cast<const T*>(x + j * step), centre[j]...));
    }
}

// Four rows at once. Rows in the order of memory are asked for while those before them are folded:
// at each page the processor takes a while to see that it is read from end to end.
template <class R, class T, class... C>
void enter_four(typename R::Acc* acc, const char* x, std::int64_t row_step, std::int64_t n,
                C... centre) {
    const T* row[kRows];
    for (int i = 0; i < kRows; ++i) row[i] = reinterpret_cast<const T*>(x + i * row_step);
    std::int64_t j = 0;
    if constexpr (Vectors<R, T>::exist) {
        using V = Vectors<R, T>;
        const std::int64_t size = sizeof(T), ahead = row_step == n * size ? kRows * n : 512 / size;
        for (; j + kLanes<T> <= n; j += kLanes<T>) {
            typename V::Acc a = V::read(acc + j);
            for (const T* p : row) {
                __builtin_prefetch(p + j + ahead);
                a = V::enter(a, load(p + j), V::read(centre + j)...);
            }
            V::write(acc + j, a);
        }
    }
    const T *a = row[0], *b = row[1], *c = row[2], *d = row[3];
    for (; j < n; ++j)
        acc[j] = R::join(acc[j], R::join(R::join(R::enter(a[j], centre[j]...),
                                                 R::enter(b[j], centre[j]...)),
                                         R::join(R::enter(c[j], centre[j]...),
                                                 R::enter(d[j], centre[j]...))));
}

template <class R, class T, class... C>
void enter_rows(typename R::Acc* acc, const char* x, std::int64_t row_step, std::int64_t rows,
                std::int64_t step, std::int64_t n, C... centre) {
    std::int64_t i = 0;
    if (step == sizeof(T))
        for (; i + kRows <= rows; i += kRows)
            enter_four<R, T>(acc, x + i * row_step, row_step, n, centre...);
    for (; i < rows; ++i) enter_row<R, T>(acc, x + i * row_step, step, n, centre...);
}

// Runs of `run` elements, one for each of n columns.
template <class R, class T, class... C>
void enter_runs(typename R::Acc* acc, const char* x, std::int64_t step, std::int64_t n,
                std::int64_t run, C... centre) {
    for (std::int64_t j = 0; j < n; ++j) {
        const T* p = reinterpret_cast<const T*>(x + j * step);
        const T* next = n > 1 ? reinterpret_cast<const T*>(x + (j + 1) * step) : nullptr;
        acc[j] = R::join(acc[j], reduce_run<R>(p, run, next, centre[j]...));
    }
}

// Folds the rows [begin, end), counted over the outer reduced axes, of n columns at x into acc.
template <class R, class T, class... C>
void enter_range(const Plan& plan, typename R::Acc* acc, const char* x, std::int64_t n,
                 std::int64_t begin, std::int64_t end, C... centre) {
    const std::int64_t step = plan.columns.x, row_step = plan.rows.x;
    while (begin < end) {
        const std::int64_t place = begin / plan.rows.n, first = begin - place * plan.rows.n;
        const std::int64_t left = plan.rows.n - first;
        const std::int64_t rows = left < end - begin ? left : end - begin;
        const char* p = x + offset(plan.outer, plan.outer_count, place, &Axis::x);
        const bool rest = plan.rest > 0 && first + rows == plan.rows.n;
        const char* last = p + plan.rows.n * row_step;
        if (plan.runs) {
            for (std::int64_t i = first; i < first + rows; ++i)
                enter_runs<R, T>(acc, p + i * row_step, step, n, plan.run, centre...);
            if (rest) enter_runs<R, T>(acc, last, step, n, plan.rest, centre...);
        } else {
            enter_rows<R, T>(acc, p + first * row_step, row_step, rows, step, n, centre...);
            if (rest) enter_row<R, T>(acc, last, step, plan.rest, centre...);
        }
        begin += rows;
    }
}

// The same from nothing; to results in float64 in blocks, with whose number rounding errors grow.
template <class R, class T, class... C>
void reduce_range(const Plan& plan, typename R::Acc* acc, const char* x, std::int64_t n,
                  std::int64_t begin, std::int64_t end, C... centre) {
    using Acc = typename R::Acc;
    for (std::int64_t j = 0; j < n; ++j) acc[j] = R::start();
    constexpr bool in_blocks = std::is_same_v<T, double> || std::is_same_v<R, SumOfSquares>;
    if (end - begin <= kBlock || !in_blocks)
        return enter_range<R, T>(plan, acc, x, n, begin, end, centre...);
    Acc block[kColumns];
    for (; begin < end; begin += kBlock) {
        const std::int64_t next = begin + kBlock < end ? begin + kBlock : end;
        for (std::int64_t j = 0; j < n; ++j) block[j] = R::start();
        enter_range<R, T>(plan, block, x, n, begin, next, centre...);
        for (std::int64_t j = 0; j < n; ++j) acc[j] = R::join(acc[j], block[j]);
    }
}

// All rows; with `split` in chunks, whose results are joined in order.
template <class R, class T, class... C>
void reduce_rows(const Plan& plan, typename R::Acc* acc, const char* x, std::int64_t n, bool split,
                 C... centre) {
    using Acc = typename R::Acc;
    if (!split) return reduce_range<R, T>(plan, acc, x, n, 0, plan.row_count, centre...);
    const std::int64_t grain = chunk_of(plan.row_count, n * plan.run);
    const std::int64_t chunks = ceil_div(plan.row_count, grain);
    const Workspace workspace(static_cast<std::size_t>(chunks * n) * sizeof(Acc));
    Acc* partial = workspace.as<Acc>();
    parallel_ranges(plan.row_count, grain, [&](std::int64_t begin, std::int64_t end) {
        reduce_range<R, T>(plan, partial + begin / grain * n, x, n, begin, end, centre...);
    });
    for (std::int64_t j = 0; j < n; ++j) acc[j] = partial[j];
    for (std::int64_t i = 1; i < chunks; ++i)
        for (std::int64_t j = 0; j < n; ++j) acc[j] = R::join(acc[j], partial[i * n + j]);
}

// Joins the columns of each result and leaves the results at the front.
template <class R>
void fold_columns(const Plan& plan, typename R::Acc* acc, std::int64_t n) {
    const std::int64_t step = plan.step, block = plan.fold * step;
    for (std::int64_t first = 0; plan.fold > 1 && first < n; first += block) {
        typename R::Acc* a = acc + first;
        for (std::int64_t m = plan.fold; m > 1; m = (m + 1) / 2)
            for (std::int64_t j = 0; j < m / 2 * step; ++j)
                a[j] = R::join(a[j], a[j + (m + 1) / 2 * step]);
        for (std::int64_t k = 0; k < step; ++k) acc[first / plan.fold + k] = a[k];
    }
}

// The other way: every column of a result gets its value.
void spread_columns(const Plan& plan, double* columns, const double* values, std::int64_t n) {
    const std::int64_t step = plan.step, block = plan.fold * step;
    for (std::int64_t first = 0; first < n; first += block)
        for (std::int64_t j = first; j < first + block; j += step)
            for (std::int64_t k = 0; k < step; ++k) columns[j + k] = values[first / plan.fold + k];
}

template <class Out, class Acc>
void put(const Plan& plan, const Acc* acc, char* y, std::int64_t n) {
    const std::int64_t results = n / plan.fold, step = plan.columns.y;
    if (step == sizeof(Out)) {
        Out* out = reinterpret_cast<Out*>(y);
        for (std::int64_t j = 0; j < results; ++j) out[j] = static_cast<Out>(acc[j]);
    } else {
        for (std::int64_t j = 0; j < results; ++j)
            *reinterpret_cast<Out*>(y + j * step) = static_cast<Out>(acc[j]);
    }
}

template <class R, class T, class Out>
void reduce(const View& x, const View& y, unsigned) {
    const Plan plan = make_plan(x, y, Vectors<R, T>::exist);
    each_tile(plan, x, y, [&](const char* px, char* py, std::int64_t n, bool split) {
        typename R::Acc acc[kColumns];
        reduce_rows<R, T>(plan, acc, px, n, split);
        fold_columns<R>(plan, acc, n);
        put<Out>(plan, acc, py, n);
    });
}

// The mean, then the squared deviations from it: twice over memory, or over a tile in a cache.
template <class T>
void variance(const View& x, const View& y, double correction) {
    const Plan plan = make_plan(x, y, Vectors<Sum<double>, T>::exist);
    const double count = static_cast<double>(plan.reduced), degrees = count - correction;
    const double divisor = degrees > 0 ? degrees : static_cast<double>(kNan);
    each_tile(plan, x, y, [&](const char* px, char* py, std::int64_t n, bool split) {
        double acc[kColumns], mean[kColumns], centre[kColumns];
        reduce_rows<Sum<double>, T>(plan, mean, px, n, split);
        fold_columns<Sum<double>>(plan, mean, n);
        for (std::int64_t j = 0; j < n / plan.fold; ++j) mean[j] /= count;
        spread_columns(plan, centre, mean, n);
        reduce_rows<SquaredDeviations, T>(plan, acc, px, n, split,
                                          static_cast<const double*>(centre));
        fold_columns<SquaredDeviations>(plan, acc, n);
        for (std::int64_t j = 0; j < n / plan.fold; ++j) acc[j] /= divisor;
        put<T>(plan, acc, py, n);
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
    const Nest nest = make_nest(views, 2, 2);
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
    if constexpr (floating) {
        slot(Reduction::sum_of_squares) = reduce<SumOfSquares, T, double>;
        table.variance[static_cast<int>(dtype)] = variance<T>;
    }
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
