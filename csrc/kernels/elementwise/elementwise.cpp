// Elementwise arithmetic: one rounding per operation, so results equal numpy's bit for bit. Cost:
// memory bandwidth.
#include "kernels/elementwise/elementwise.h"

#include "kernels/elementwise/operation.h"

namespace babygrad::BABYGRAD_TARGET {
namespace {

template <class V>
V sign_of(V x) {
    const V one = constant<V>(1), zero{};
    return select(x > zero, one, select(x < zero, -one, select(x == zero, zero, x)));
}

// Roundings by the C library's function, which compiles to the vector instruction.
template <class V, class Fn>
V lanes(V v, const Fn& fn) {
    for (std::size_t i = 0; i < sizeof v / sizeof v[0]; ++i) v[i] = fn(v[i]);
    return v;
}

namespace op {

BABYGRAD_OP1(negative, Stateless, -x)
BABYGRAD_OP1(abs, Stateless, BABYGRAD_TARGET::abs(x))
BABYGRAD_OP1(sign, Stateless, sign_of(x))
BABYGRAD_OP1(square, Stateless, x* x)
BABYGRAD_OP1(sqrt, Stateless, BABYGRAD_TARGET::sqrt(x))
BABYGRAD_OP1(reciprocal, Stateless, constant<V>(1) / x)
BABYGRAD_OP1(rsqrt, Stateless, constant<V>(1) / BABYGRAD_TARGET::sqrt(x))
BABYGRAD_OP1(floor, Stateless, lanes(x, [](auto v) { return std::floor(v); }))
BABYGRAD_OP1(ceil, Stateless, lanes(x, [](auto v) { return std::ceil(v); }))
BABYGRAD_OP1(round, Stateless, lanes(x, [](auto v) { return std::nearbyint(v); }))
BABYGRAD_OP1(relu, Stateless, max_nan(x, V{}))
BABYGRAD_OP1(leaky_relu, Parametric, select(x > V{}, x, x* constant<V>(parameter)))

BABYGRAD_OP2(add, Stateless, a, b, a + b)
BABYGRAD_OP2(subtract, Stateless, a, b, a - b)
BABYGRAD_OP2(multiply, Stateless, a, b, a* b)
BABYGRAD_OP2(divide, Stateless, a, b, a / b)
BABYGRAD_OP2(maximum, Stateless, a, b, max_nan(a, b))
BABYGRAD_OP2(minimum, Stateless, a, b, min_nan(a, b))

BABYGRAD_OP2(relu_grad, Stateless, gy, y, select(y <= V{}, V{}, gy))
BABYGRAD_OP2(sigmoid_grad, Stateless, gy, y, gy*(y*(constant<V>(1) - y)))
BABYGRAD_OP2(tanh_grad, Stateless, gy, y, gy*(constant<V>(1) - y * y))
BABYGRAD_OP2(leaky_relu_grad, Parametric, gy, x, select(x > V{}, gy, gy* constant<V>(parameter)))

struct clip : Stateless {
    using Stateless::Stateless;
    template <class V>
    V operator()(V x, V low, V high) const {
        return min_nan(max_nan(x, low), high);
    }
};

}  // namespace op
}  // namespace

void fill_math(ElementwiseKernels& table);  // the rows in math.cpp

void fill(ElementwiseKernels& table) {
    BABYGRAD_ARITHMETIC_UNARY(BABYGRAD_UNARY_ROW)
    BABYGRAD_ARITHMETIC_BINARY(BABYGRAD_BINARY_ROW)
    BABYGRAD_UNARY_ROW(leaky_relu)
    BABYGRAD_BINARY_ROW(relu_grad)
    BABYGRAD_BINARY_ROW(sigmoid_grad)
    BABYGRAD_BINARY_ROW(tanh_grad)
    BABYGRAD_BINARY_ROW(leaky_relu_grad)
    table.clip[0] = ternary_loop<float, op::clip>;
    table.clip[1] = ternary_loop<double, op::clip>;
    fill_math(table);
}

}  // namespace babygrad::BABYGRAD_TARGET
