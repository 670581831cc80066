// Elementwise transcendental functions, activations and their gradients: accuracy in simd/math.h.
// Cost: 1 to 5 ns per vector of float32; float64 runs at the C library's speed.
#include "kernels/elementwise/elementwise.h"
#include "kernels/elementwise/operation.h"
#include "simd/math.h"

namespace babygrad::BABYGRAD_TARGET {
namespace {

constexpr double kTanhFactor = 0.7978845608028654;  // sqrt(2 / pi)
constexpr double kTanhCubic = 0.044715;
constexpr double kDensity = 0.3989422804014327;      // 1 / sqrt(2 pi)

// Beyond these, Phi and the logistic function are what they are at infinity, in float64 too; there x
// itself would meet them as inf * 0.
constexpr int kNormalLimit = 40, kLogisticLimit = 800;

template <class V>
V silu_slope(V x) {
    const V s = sigmoid(x), factor = clamp(x, -kLogisticLimit, kLogisticLimit);
    return s * (factor * (constant<V>(1) - s) + constant<V>(1));
}

// The cumulative normal distribution and its derivative in both forms of gelu. float32 is
// evaluated in float64 lanes: the tails multiply x^2's rounding error by the exponent.
struct Normal {
    f64v cdf, pdf;
};
Normal normal_tanh(f64v x, f64v (*exponential)(f64v)) {
    const f64v square = x * x;
    const f64v u2 = 2 * kTanhFactor * x * fma(square, splat(kTanhCubic), splat(1.0));
    const f64v cdf = 1.0 / (1.0 + exponential(-u2));
    const f64v slope = 2 * kTanhFactor * fma(square, splat(3 * kTanhCubic), splat(1.0));
    return {cdf, cdf * (1.0 - cdf) * slope};
}

Normal normal_exact(f64v x) {
    const f64v cdf = each_lane(x, [](double v) { return 0.5 * std::erfc(v * -0.7071067811865476); });
    return {cdf, exp(x * x * -0.5) * kDensity};
}

// Beyond 15 both forms have reached their limits in float32.
f32v magnitude(f32v x) {
    const f32v z = abs(x), limit = splat(15.0f);
    return select(limit < z, limit, z);
}
f32v bounded(f32v x) { return copy_sign(magnitude(x), x); }

struct gelu_base {
    bool approximate;
    explicit gelu_base(const double* params) : approximate(params[0] != 0) {}
    Normal normal(f64v x) const { return approximate ? normal_tanh(x, exp) : normal_exact(x); }
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
BABYGRAD_OP1(silu, Stateless, at_least(x, -kLogisticLimit) * BABYGRAD_TARGET::sigmoid(x))
BABYGRAD_OP1(elu, Parametric,
             select(x > V{}, x, BABYGRAD_TARGET::expm1(min_nan(x, V{})) * constant<V>(parameter)))

BABYGRAD_OP2(softplus_grad, Stateless, gy, x, gy* BABYGRAD_TARGET::sigmoid(x))
BABYGRAD_OP2(silu_grad, Stateless, gy, x, gy* silu_slope(x))
BABYGRAD_OP2(elu_grad, Parametric, gy, x,
             select(x > V{}, gy,
                    gy*(BABYGRAD_TARGET::exp(min_nan(x, V{})) * constant<V>(parameter))))

struct gelu : gelu_base {
    using gelu_base::gelu_base;
    f64v operator()(f64v x) const { return at_least(x, -kNormalLimit) * normal(x).cdf; }
    f32v operator()(f32v x) const {
        if (approximate) {
            const f32v near = in_float64(bounded(x), [](f64v v) {
                return v * normal_tanh(v, exp_for_float).cdf;
            });
            return select(x > 15.0f, x, select(x < -15.0f, splat(-0.0f), near));
        }
        if (!any(abs(x) > kNormalCore))
            return in_float64(x, [](f64v v) { return v * fma(v, cdf_core(v * v), splat(0.5)); });
        // The larger of x and 0, minus |x| times the tail.
        const f32v lost = in_float64(magnitude(x), [](f64v z) {
            const NormalTail tail = normal_tail(z);
            return z * tail.n / tail.d * tail.density;  // the division beside the exponential
        });
        return fma(at_least(x, -kNormalLimit), select(x > 0.0f, splat(1.0f), f32v{}), -lost);
    }
};

struct gelu_grad : gelu_base {
    using gelu_base::gelu_base;
    f64v operator()(f64v gy, f64v v) const {
        const f64v x = clamp(v, -kNormalLimit, kNormalLimit);
        const Normal n = normal(x);
        return gy * (n.cdf + x * n.pdf);
    }
    f32v operator()(f32v gy, f32v x) const {
        if (approximate) {
            return gy * in_float64(bounded(x), [](f64v v) {
                const Normal n = normal_tanh(v, exp_for_float);
                return n.cdf + v * n.pdf;
            });
        }
        if (!any(abs(x) > kNormalCore))
            return gy * in_float64(x, [](f64v v) {
                       return fma(v, gelu_slope_core(v * v), splat(0.5));
                   });
        // 1 or 0, plus what is odd in x: z pdf(z) - tail(z).
        const f32v odd = in_float64(magnitude(x), [](f64v z) {
            const NormalTail tail = normal_tail(z);
            return (z * kDensity - tail.n / tail.d) * tail.density;
        });
        return gy * select(x > 0.0f, 1.0f + odd, -odd);
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
