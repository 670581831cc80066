// Matrix products of arrays.
#pragma once

#include "runtime/loops.h"
#include "runtime/view.h"

namespace babygrad {

// All of one dtype, float32 or float64. `y` is dense in C order and overlaps no operand.
struct GemmKernels {
    // a (..., m, k), b (..., k, n), y (..., m, n), the leading axes broadcast already.
    void (*matmul)(const View& a, const View& b, const View& y);
    // x (..., k), w (k, n), b (n,) or null, y (..., n); `activation`, a loop over one input without
    // parameters, or null.
    void (*linear)(const View& x, const View& w, const View* b, Loop activation, const View& y);
};

}  // namespace babygrad
