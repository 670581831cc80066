// The elementwise family: each operation's inner loops, by operation and element type.
#pragma once

#include "loops.h"

// One row per operation; the same name stands for its enumerator, its functor in elementwise.cpp
// and its entry in `babygrad._core`.
#define BABYGRAD_UNARY(X) X(negative) X(abs) X(square) X(sqrt)
#define BABYGRAD_BINARY(X) X(add) X(subtract) X(multiply) X(divide) X(maximum) X(minimum)

namespace babygrad {

#define BABYGRAD_ENUMERATOR(name) name,
enum class Unary { BABYGRAD_UNARY(BABYGRAD_ENUMERATOR) count };
enum class Binary { BABYGRAD_BINARY(BABYGRAD_ENUMERATOR) count };
#undef BABYGRAD_ENUMERATOR

struct ElementwiseKernels {
    Loop unary[static_cast<int>(Unary::count)][2];  // [operation][f32, f64]
    Loop binary[static_cast<int>(Binary::count)][2];
};

}  // namespace babygrad
