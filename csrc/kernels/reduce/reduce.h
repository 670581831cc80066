// Reductions along any axes of an array in any layout.
#pragma once

#include "runtime/view.h"

namespace babygrad {

enum class Reduction { sum, prod, max, min, any, all, sum_of_squares, count };

// x is reduced into y, which has x's rank and stride 0 along the reduced axes, a bit mask. x is not
// empty. y's dtype: that of x; int64 for sums of integers and bools, float64 for sum_of_squares.
using ReduceFn = void (*)(const View& x, const View& y, unsigned axes);

// The squared deviations from the mean, over their number minus `correction`: NaN where that is not
// positive. y has x's dtype, otherwise as for ReduceFn.
using VarianceFn = void (*)(const View& x, const View& y, double correction);

// The place of the first largest (or smallest) element, or of the first NaN, along the last axis of
// x; y is int64 with one axis less.
using ArgFn = void (*)(const View& x, const View& y);

struct ReduceKernels {
    ReduceFn reduce[static_cast<int>(Reduction::count)][kDTypeCount];  // null: not covered
    VarianceFn variance[kDTypeCount];  // null: not covered
    ArgFn argmax[kDTypeCount];
    ArgFn argmin[kDTypeCount];
};

}  // namespace babygrad
