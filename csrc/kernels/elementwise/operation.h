// How an elementwise operation is written: a functor over vectors, from one expression.
#pragma once

#include "simd/loop.h"

namespace babygrad::BABYGRAD_TARGET {
namespace {

struct Stateless {
    explicit Stateless(const double*) {}
};

// One that reads the call's parameter, as `parameter`.
struct Parametric {
    double parameter;
    explicit Parametric(const double* params) : parameter(params[0]) {}
};

// The element type of a vector, and a constant of it.
template <class V>
using Element = std::remove_reference_t<decltype(std::declval<V&>()[0])>;
template <class V>
inline V constant(double x) {
    return splat(static_cast<Element<V>>(x));
}

}  // namespace
}  // namespace babygrad::BABYGRAD_TARGET

#define BABYGRAD_OP1(name, Base, expression)  \
    struct name : Base {                      \
        using Base::Base;                     \
        template <class V>                    \
        V operator()(V x) const {             \
            return expression;                \
        }                                     \
    };
#define BABYGRAD_OP2(name, Base, a, b, expression) \
    struct name : Base {                           \
        using Base::Base;                          \
        template <class V>                         \
        V operator()(V a, V b) const {             \
            return expression;                     \
        }                                          \
    };

// A row of the table: the loops of one operation for float32 and float64.
#define BABYGRAD_UNARY_ROW(name)                                                 \
    table.unary[static_cast<int>(Unary::name)][0] = unary_loop<float, op::name>; \
    table.unary[static_cast<int>(Unary::name)][1] = unary_loop<double, op::name>;
#define BABYGRAD_BINARY_ROW(name)                                                   \
    table.binary[static_cast<int>(Binary::name)][0] = binary_loop<float, op::name>; \
    table.binary[static_cast<int>(Binary::name)][1] = binary_loop<double, op::name>;
