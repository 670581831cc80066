// The elementwise family: each operation's inner loops, by operation and element type.
#pragma once

#include "runtime/loops.h"

// One row per operation; the same name stands for its enumerator, its functor in the kernel source
// and its entry in `babygrad._core`. Arithmetic operations take and give floating-point vectors.
#define BABYGRAD_ARITHMETIC_UNARY(X) \
    X(negative) X(abs) X(sign) X(square) X(sqrt) X(reciprocal) X(rsqrt) X(floor) X(ceil) X(round) X(relu)
#define BABYGRAD_MATH_UNARY(X) \
    X(exp) X(expm1) X(log) X(log1p) X(log2) X(tanh) X(erf) X(sigmoid) X(softplus) X(silu)
#define BABYGRAD_ARITHMETIC_BINARY(X) \
    X(add) X(subtract) X(multiply) X(divide) X(maximum) X(minimum)
// Binary operations over (gy, x or y): no scalars, no broadcasting.
#define BABYGRAD_GRADIENT(X) \
    X(relu_grad) X(sigmoid_grad) X(tanh_grad) X(softplus_grad) X(silu_grad)
// Activations with one parameter, and the gradients of these.
#define BABYGRAD_PARAMETRIC(X) X(gelu) X(elu) X(leaky_relu)
#define BABYGRAD_PARAMETRIC_GRADIENT(X) X(gelu_grad) X(elu_grad) X(leaky_relu_grad)
#define BABYGRAD_COMPARISON(X) \
    X(equal) X(not_equal) X(less) X(less_equal) X(greater) X(greater_equal)
#define BABYGRAD_LOGICAL(X) X(logical_and) X(logical_or)
#define BABYGRAD_PREDICATE(X) X(isnan) X(isinf) X(isfinite)

namespace babygrad {

#define BABYGRAD_ENUMERATOR(name) name,
enum class Unary {
    BABYGRAD_ARITHMETIC_UNARY(BABYGRAD_ENUMERATOR) BABYGRAD_MATH_UNARY(BABYGRAD_ENUMERATOR)
    BABYGRAD_PARAMETRIC(BABYGRAD_ENUMERATOR) count
};
enum class Binary {
    BABYGRAD_ARITHMETIC_BINARY(BABYGRAD_ENUMERATOR) BABYGRAD_GRADIENT(BABYGRAD_ENUMERATOR)
    BABYGRAD_PARAMETRIC_GRADIENT(BABYGRAD_ENUMERATOR) count
};
enum class Comparison { BABYGRAD_COMPARISON(BABYGRAD_ENUMERATOR) count };
enum class Logical { BABYGRAD_LOGICAL(BABYGRAD_ENUMERATOR) count };
enum class Predicate { BABYGRAD_PREDICATE(BABYGRAD_ENUMERATOR) count };
#undef BABYGRAD_ENUMERATOR

struct ElementwiseKernels {
    Loop unary[static_cast<int>(Unary::count)][2];  // [operation][f32, f64]
    Loop binary[static_cast<int>(Binary::count)][2];
    Loop clip[2];  // over x, low, high
};

// Loops whose operands are not all of one floating-point type.
struct SelectKernels {
    Loop comparison[static_cast<int>(Comparison::count)][kDTypeCount];  // -> bool
    Loop logical[static_cast<int>(Logical::count)];                     // bool, bool -> bool
    Loop logical_not;
    Loop predicate[static_cast<int>(Predicate::count)][2];
    Loop where[3];  // [element of 1, 4, 8 bytes]: condition, a, b
    Loop copy[3];
    Loop cast[2][kDTypeCount];  // [to f32, f64][from]
};

}  // namespace babygrad
