// Reductions along any axes of an array in any layout.
#pragma once

#include "view.h"

namespace babygrad {

// x is reduced into y. `axes` marks the reduced axes of x (bit i for axis i); y has x's rank, with
// length 1 along them. Both float32 or both float64.
struct ReduceKernels {
    void (*sum)(const View& x, const View& y, unsigned axes);
};

}  // namespace babygrad
