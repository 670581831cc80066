// Elementwise operations: each a functor over vectors, one rounding per arithmetic operation, so
// results equal numpy's bit for bit. Cost: memory bandwidth.
#include "kernels/elementwise.h"

#include "simd/loop.h"
#include "targets/targets.h"

namespace babygrad::BABYGRAD_TARGET {
namespace {

namespace op {

struct Stateless {
    explicit Stateless(const double*) {}
};

#define UNARY(name, expression)                \
    struct name : Stateless {                  \
        using Stateless::Stateless;            \
        template <class V>                     \
        V operator()(V x) const {              \
            return expression;                 \
        }                                      \
    };
#define BINARY(name, expression)               \
    struct name : Stateless {                  \
        using Stateless::Stateless;            \
        template <class V>                     \
        V operator()(V a, V b) const {         \
            return expression;                 \
        }                                      \
    };

UNARY(negative, -x)
UNARY(abs, BABYGRAD_TARGET::abs(x))
UNARY(square, x * x)
UNARY(sqrt, BABYGRAD_TARGET::sqrt(x))

BINARY(add, a + b)
BINARY(subtract, a - b)
BINARY(multiply, a* b)
BINARY(divide, a / b)
BINARY(maximum, max_nan(a, b))
BINARY(minimum, min_nan(a, b))

#undef UNARY
#undef BINARY

}  // namespace op

}  // namespace

void fill(ElementwiseKernels& table) {
#define UNARY_ROW(name)                                                       \
    table.unary[static_cast<int>(Unary::name)][0] = unary_loop<float, op::name>; \
    table.unary[static_cast<int>(Unary::name)][1] = unary_loop<double, op::name>;
    BABYGRAD_UNARY(UNARY_ROW)
#define BINARY_ROW(name)                                                         \
    table.binary[static_cast<int>(Binary::name)][0] = binary_loop<float, op::name>; \
    table.binary[static_cast<int>(Binary::name)][1] = binary_loop<double, op::name>;
    BABYGRAD_BINARY(BINARY_ROW)
}

}  // namespace babygrad::BABYGRAD_TARGET
