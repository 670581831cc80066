// The GEMM core: c = activation(a b (+ bias) (+ c)), for matmul, linear, attention and the 1x1
// convolution.
//
// Policy: products are summed in the element type, at most kMaxInner (pack.h) of them in a
// register, then block by block into the output; a long inner axis in pieces, in up to kSlots
// ranges that are added pairwise. The order of every sum depends on the sizes alone: the bits are the same
// for any number of threads.
#pragma once

#include <cstdint>

#include "runtime/loops.h"

namespace babygrad::BABYGRAD_TARGET {

// Strides in elements. The columns of `c` are adjacent; `c` overlaps neither operand.
template <class T>
struct Gemm {
    std::int64_t m, n, k;
    const T* a;
    std::int64_t a_row, a_column;
    const T* b;
    std::int64_t b_row, b_column;
    T* c;
    std::int64_t c_row;
    const T* bias = nullptr;  // n values
    bool accumulate = false;
    Loop activation = nullptr;
};

// Blocks of rows or tiles come in multiples of four, unless there are one or two: with 11 for two
// threads, one would wait for a tenth of the time.
static inline std::int64_t even_blocks(std::int64_t blocks) {
    return blocks > 2 ? (blocks + 3) / 4 * 4 : blocks;
}

// On all threads of the pool, for any size.
template <class T>
void gemm(const Gemm<T>& g);

// On the calling thread and without allocating: for callers that run many in parallel.
template <class T>
void gemm_serial(const Gemm<T>& g);

// c = activation(c), rows of `n` values `row` elements apart, where there is an activation.
template <class T>
inline void activate(Loop activation, T* c, std::int64_t row, std::int64_t rows, std::int64_t n) {
    if (!activation) return;
    char* data = reinterpret_cast<char*>(c);
    const std::int64_t step = sizeof(T), row_step = row * step;
    activation({{data, data}, {step, step}, {row_step, row_step}, n, rows, nullptr});
}

// y[i] = activation(sum over k of a[i * a_row + k * a_column] x[k * x_stride]
//                   (+ bias[i * bias_stride])).
// Sums of blocks are added in double precision.
template <class T>
struct Gemv {
    std::int64_t m, k;
    const T* a;
    std::int64_t a_row, a_column;
    const T* x;
    std::int64_t x_stride;
    T* y;
    const T* bias = nullptr;
    std::int64_t bias_stride = 1;
    Loop activation = nullptr;
};
template <class T>
void gemv(const Gemv<T>& g);

}  // namespace babygrad::BABYGRAD_TARGET
