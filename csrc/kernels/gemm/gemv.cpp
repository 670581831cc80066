// Matrix times vector.
//
// Policy: at most kInner products per lane are summed in a register, everything above in double
// precision. It is bound by memory: rows are read four at a time where they are adjacent along the
// inner axis, else four inner indices at a time across a block of outputs.
#include <algorithm>

#include "kernels/gemm/gemm_core.h"
#include "runtime/memory.h"
#include "simd/vec.h"
#include "runtime/threads.h"

namespace babygrad::BABYGRAD_TARGET {
namespace {

constexpr std::int64_t kInner = 128;         // inner indices between two additions to a double
constexpr std::int64_t kBlock = 512;         // outputs whose sums are held in L1
constexpr std::int64_t kRangeInner = 16384;  // inner indices of one task
constexpr std::int64_t kTaskWork = 65536;

// Dot products of four rows, or of one four times over, with x; adjacent elements.
template <class T>
void dot_rows(const T* const* rows, const T* x, std::int64_t count, double* sums) {
    constexpr std::int64_t lanes = kLanes<T>;
    const T *r0 = rows[0], *r1 = rows[1], *r2 = rows[2], *r3 = rows[3];
    for (std::int64_t begin = 0; begin < count; begin += kInner * lanes) {
        const std::int64_t end = std::min(count, begin + kInner * lanes);
        Vec<T> s0{}, s1{}, s2{}, s3{};
        std::int64_t k = begin;
        for (; k + lanes <= end; k += lanes) {
            const Vec<T> v = load(x + k);
            s0 = fma(load(r0 + k), v, s0);
            s1 = fma(load(r1 + k), v, s1);
            s2 = fma(load(r2 + k), v, s2);
            s3 = fma(load(r3 + k), v, s3);
        }
        T tail[4] = {sum_lanes(s0), sum_lanes(s1), sum_lanes(s2), sum_lanes(s3)};
        for (; k < end; ++k)
            for (int r = 0; r < 4; ++r) tail[r] += rows[r][k] * x[k];
        for (int r = 0; r < 4; ++r) sums[r] += static_cast<double>(tail[r]);
    }
}

// sums[i] += sum over k of a[k * stride + i] x[k], i < width <= kBlock.
template <class T>
void add_columns(const T* a, std::int64_t stride, const T* x, std::int64_t count,
                 std::int64_t width, double* sums) {
    constexpr std::int64_t lanes = kLanes<T>;
    alignas(64) T block[kBlock];
    for (std::int64_t begin = 0; begin < count; begin += kInner) {
        const std::int64_t end = std::min(count, begin + kInner);
        std::fill_n(block, width, T(0));
        std::int64_t k = begin;
        for (; k + 4 <= end; k += 4) {
            const T *a0 = a + k * stride, *a1 = a0 + stride, *a2 = a1 + stride, *a3 = a2 + stride;
            const Vec<T> x0 = splat(x[k]), x1 = splat(x[k + 1]);
            const Vec<T> x2 = splat(x[k + 2]), x3 = splat(x[k + 3]);
            std::int64_t i = 0;
            for (; i + lanes <= width; i += lanes) {
                const Vec<T> low = fma(load(a0 + i), x0, load(block + i));
                const Vec<T> mid = fma(load(a1 + i), x1, low);
                const Vec<T> high = fma(load(a2 + i), x2, mid);
                store(block + i, fma(load(a3 + i), x3, high));
            }
            for (; i < width; ++i)
                block[i] += a0[i] * x[k] + a1[i] * x[k + 1] + a2[i] * x[k + 2] + a3[i] * x[k + 3];
        }
        for (; k < end; ++k)
            for (std::int64_t i = 0; i < width; ++i) block[i] += a[k * stride + i] * x[k];
        for (std::int64_t i = 0; i < width; ++i) sums[i] += static_cast<double>(block[i]);
    }
}

// Outputs [i, i + rows), rows <= kBlock, over inner indices [k, k + count), into sums.
template <class T>
void partial(const Gemv<T>& g, const T* x, std::int64_t i, std::int64_t rows, std::int64_t k,
             std::int64_t count, double* sums) {
    const T* a = g.a + i * g.a_row + k * g.a_column;
    std::fill_n(sums, rows, 0.0);
    if (g.a_column == 1) {
        for (std::int64_t r = 0; r < rows; r += 4) {
            const T* pointers[4];
            double four[4] = {};
            for (std::int64_t j = 0; j < 4; ++j)
                pointers[j] = a + std::min(r + j, rows - 1) * g.a_row;
            dot_rows(pointers, x + k, count, four);
            std::copy_n(four, std::min<std::int64_t>(4, rows - r), sums + r);
        }
    } else if (g.a_row == 1) {
        add_columns(a, g.a_column, x + k, count, rows, sums);
    } else {
        for (std::int64_t r = 0; r < rows; ++r)
            for (std::int64_t j = 0; j < count; ++j)
                sums[r] += static_cast<double>(a[r * g.a_row + j * g.a_column]) *
                           static_cast<double>(x[k + j]);
    }
}

}  // namespace

template <class T>
void gemv(const Gemv<T>& g) {
    Workspace x_space(g.x_stride == 1 ? 0 : static_cast<std::size_t>(g.k) * sizeof(T));
    const T* x = g.x;
    if (g.x_stride != 1) {
        for (std::int64_t k = 0; k < g.k; ++k) x_space.as<T>()[k] = g.x[k * g.x_stride];
        x = x_space.as<T>();
    }
    // Rows of `a` are shared out whole; columns in wide blocks, to read memory in long runs.
    const bool by_columns = g.a_row == 1 && g.a_column != 1;
    std::int64_t rows = std::min(kBlock, g.m), range = kRangeInner;
    if (by_columns)
        range = std::clamp(kTaskWork / rows, 4 * kInner, kRangeInner);
    else
        rows = std::clamp<std::int64_t>(kTaskWork / std::clamp<std::int64_t>(g.k, 1, range), 4,
                                        kBlock) / 4 * 4;
    const std::int64_t ranges = std::max<std::int64_t>(1, g.k / range);
    range = ceil_div(g.k, ranges);
    const std::int64_t blocks = ceil_div(g.m, rows);
    const auto finish = [&](std::int64_t i, double sum) {
        if (g.bias) sum += static_cast<double>(g.bias[i * g.bias_stride]);
        g.y[i] = static_cast<T>(sum);
    };
    Workspace sums_space(ranges > 1 ? static_cast<std::size_t>(ranges * g.m) * sizeof(double) : 0);
    double* sums = sums_space.as<double>();
    parallel_for(blocks * ranges, [&](std::int64_t task) {
        const std::int64_t i = task % blocks * rows, r = task / blocks;
        const std::int64_t count = std::min(rows, g.m - i);
        double local[kBlock];
        double* out = ranges > 1 ? sums + r * g.m + i : local;
        partial(g, x, i, count, r * range, std::min(range, g.k - r * range), out);
        if (ranges > 1) return;
        for (std::int64_t j = 0; j < count; ++j) finish(i + j, local[j]);
        activate(g.activation, g.y + i, 0, 1, count);
    });
    if (ranges == 1) return;
    for (std::int64_t i = 0; i < g.m; ++i) {
        double sum = 0;
        for (std::int64_t r = 0; r < ranges; ++r) sum += sums[r * g.m + i];
        finish(i, sum);
    }
    activate(g.activation, g.y, 0, 1, g.m);
}

template void gemv(const Gemv<float>&);
template void gemv(const Gemv<double>&);

}  // namespace babygrad::BABYGRAD_TARGET
