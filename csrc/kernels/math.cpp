// Elementwise transcendental functions, activations and their gradients: accuracy in simd/math.h.
// Cost: 1 to 5 ns per vector of float32; float64 runs at the C library's speed.
#include "kernels/elementwise.h"
#include "kernels/operation.h"
#include "simd/math.h"
#include "targets/targets.h"

namespace babygrad::BABYGRAD_TARGET {
namespace {

constexpr double kTanhFactor = 0.7978845608028654;  // sqrt(2 / pi)
constexpr double kTanhCubic = 0.044715;

template <class V>
V silu_slope(V x) {
    const V s = sigmoid(x);
    return s * (x * (constant<V>(1) - s) + constant<V>(1));
}

// The cumulative normal distribution and its derivative in both forms of gelu. float32 is
// evaluated in float64 lanes: the tails multiply x^2's rounding error by the exponent.
Normal normal_tanh(f64v x, f64v (*exponential)(f64v)) {
    const f64v square = x * x;
    const f64v u2 = 2 * kTanhFactor * x * fma(square, splat(kTanhCubic), splat(1.0));
    const f64v cdf = 1.0 / (1.0 + exponential(-u2));
    const f64v slope = 2 * kTanhFactor * fma(square, splat(3 * kTanhCubic), splat(1.0));
    return {cdf, cdf * (1.0 - cdf) * slope};
}

Normal normal_exact(f64v x) {
    const f64v cdf = each_lane(x, [](double v) { return 0.5 * std::erfc(v * -0.7071067811865476); });
    return {cdf, exp(x * x * -0.5) * 0.3989422804014327};
}

// Beyond 15 both forms have reached their limits in float32; -inf * 0 is NaN, as in the definition.
inline f64v bounded(f64v x) {
    return select(x > 15.0, splat(15.0), select(x < -15.0, splat(-15.0), x));
}

struct gelu_base {
    bool approximate;
    explicit gelu_base(const double* params) : approximate(params[0] != 0) {}
    Normal wide(f64v x) const { return approximate ? normal_tanh(x, exp) : normal_exact(x); }
    Normal narrow_range(f64v x) const {
        return approximate ? normal_tanh(x, exp_for_float) : normal_for_float(x);
    }
};

namespace op {

#define BABYGRAD_SAME_NAME(name) BABYGRAD_OP1(name, Stateless, BABYGRAD_TARGET::name(x))
BABYGRAD_SAME_NAME(exp)
BABYGRAD_SAME_NAME(expm1)
BABYGRAD_SAME_NAME(log)
BABYGRAD_SAME_NAME(log1p)
BABYGRAD_SAME_NAME(log2)
BABYGRAD_SAME_NAME(tanh)
BABYGRAD_SAME_NAME(erf)
BABYGRAD_SAME_NAME(sigmoid)
BABYGRAD_SAME_NAME(softplus)
BABYGRAD_OP1(silu, Stateless, x* BABYGRAD_TARGET::sigmoid(x))
BABYGRAD_OP1(elu, Parametric,
             select(x > V{}, x, BABYGRAD_TARGET::expm1(min_nan(x, V{})) * constant<V>(parameter)))

BABYGRAD_OP2(softplus_grad, Stateless, gy, x, gy* BABYGRAD_TARGET::sigmoid(x))
BABYGRAD_OP2(silu_grad, Stateless, gy, x, gy* silu_slope(x))
BABYGRAD_OP2(elu_grad, Parametric, gy, x,
             select(x > V{}, gy,
                    gy*(BABYGRAD_TARGET::exp(min_nan(x, V{})) * constant<V>(parameter))))

struct gelu : gelu_base {
    using gelu_base::gelu_base;
    f64v operator()(f64v x) const { return x * wide(x).cdf; }
    f32v operator()(f32v x) const {
        const Halves h = widen(x);
        return narrow({value(h.lo), value(h.hi)});
    }

private:
    f64v value(f64v x) const {
        const f64v cdf = narrow_range(bounded(x)).cdf;
        return x * select(x < -15.0, f64v{}, cdf);
    }
};

struct gelu_grad : gelu_base {
    using gelu_base::gelu_base;
    f64v operator()(f64v gy, f64v x) const {
        const Normal n = wide(x);
        return gy * (n.cdf + x * n.pdf);
    }
    f32v operator()(f32v gy, f32v x) const {
        const Halves g = widen(gy), h = widen(x);
        return narrow({slope(g.lo, h.lo), slope(g.hi, h.hi)});
    }

private:
    f64v slope(f64v gy, f64v x) const {
        const f64v near = bounded(x);
        const Normal n = narrow_range(near);
        return gy * (n.cdf + near * n.pdf);
    }
};

}  // namespace op
}  // namespace

void fill_math(ElementwiseKernels& table) {
    BABYGRAD_MATH_UNARY(BABYGRAD_UNARY_ROW)
    BABYGRAD_UNARY_ROW(gelu)
    BABYGRAD_UNARY_ROW(elu)
    BABYGRAD_BINARY_ROW(softplus_grad)
    BABYGRAD_BINARY_ROW(silu_grad)
    BABYGRAD_BINARY_ROW(gelu_grad)
    BABYGRAD_BINARY_ROW(elu_grad)
}

}  // namespace babygrad::BABYGRAD_TARGET
