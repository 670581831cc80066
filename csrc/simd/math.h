// Transcendental functions of a vector. float32: polynomials on a reduced argument, within 2 ulp of
// the correctly rounded result for every input, subnormals included (measured over all 2^32 bit
// patterns, with and without fma). float64: the C library's, lane by lane, within 1 ulp.
//
// Coefficients of the float32 kernels: S. Moshier, Cephes (expf.c, logf.c, tanhf.c), except where
// noted.
#pragma once

#include "simd/vec.h"

namespace babygrad::BABYGRAD_TARGET {
namespace {

// Horner's rule, highest coefficient first.
template <class V>
inline V polynomial(V, V value) {
    return value;
}
template <class V, class T, class... Rest>
inline V polynomial(V x, V value, T next, Rest... rest) {
    return polynomial(x, fma(value, x, splat(next)), rest...);
}

constexpr float kInf = __builtin_inff();
constexpr float kNan = __builtin_nanf("");

// 2^n for integral n in [-126, 127], and 0 for n = -127.
inline f32v exp2_integer(i32v n) { return bit_cast<f32v>((n + 127) << 23); }
inline f64v exp2_integer(i64v n) { return bit_cast<f64v>((n + 1023) << 52); }

// x = n ln 2 + r with |r| <= ln 2 / 2. n ln2_hi is exact: 355/512 has nine bits.
struct Reduced {
    f32v r;
    i32v n;
};
inline Reduced reduce_exp(f32v x) {
    // Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits.
    const f32v magic = splat(12582912.0f);
    const f32v shifted = fma(x, splat(1.44269504088896341f), magic);
    const f32v n = shifted - magic;
    f32v r = fma(n, splat(-0.693359375f), x);
    r = fma(n, splat(2.12194440e-4f), r);
    return {r, bit_cast<i32v>(shifted) - bit_cast<i32v>(magic)};
}

// exp(r) - 1 on the reduced range. By pairs of terms, which shortens the chain.
inline f32v expm1_reduced(f32v r) {
    const f32v square = r * r;
    f32v p = fma(r, splat(1.9875691500e-4f), splat(1.3981999507e-3f));
    p = fma(square, p, fma(r, splat(8.3334519073e-3f), splat(4.1665795894e-2f)));
    p = fma(square, p, fma(r, splat(1.6666665459e-1f), splat(5.0000001201e-1f)));
    return fma(square, p, r);
}

inline f32v exp(f32v x) {
    // Beyond 89 the result is infinite. At -176, n is -254 and both factors below are 0: exp(-inf), of
    // which masks have many, costs no underflow, which takes the processor twice the time of all else.
    const Reduced a = reduce_exp(clamp(x, -176.0f, 89.0f));
    // Two steps, so that 2^n need not be a normal number.
    const i32v half = a.n >> 1;
    const f32v scale = exp2_integer(half);
    return fma(expm1_reduced(a.r), scale, scale) * exp2_integer(a.n - half);
}

inline f32v expm1(f32v x) {
    const Reduced a = reduce_exp(clamp(x, -18.0f, 89.0f));
    const f32v half_scale = exp2_integer(a.n - 1);  // 2^128 would not be finite
    const f32v y = fma(half_scale, expm1_reduced(a.r), half_scale - 0.5f) * 2.0f;
    return select(x == 0.0f, x, y);
}

// x = 2^e (1 + f) with sqrt(1/2) <= 1 + f < sqrt(2), for finite x > 0.
struct Split {
    f32v f, e;
};
inline Split split_log(f32v x) {
    const auto tiny = x < 1.17549435e-38f;
    x = select(tiny, x * 8388608.0f, x);
    const i32v shifted = bit_cast<i32v>(bit_cast<u32v>(x) - 0x3f3504f3U);
    const i32v e = (shifted >> 23) - (tiny & 23);
    const f32v m = bit_cast<f32v>((shifted & 0x7fffff) + 0x3f3504f3);
    return {m - 1.0f, __builtin_convertvector(e, f32v)};
}

// log(1 + f) - f.
inline f32v log_tail(f32v f) {
    const f32v p =
        polynomial(f, splat(7.0376836292e-2f), -1.1514610310e-1f, 1.1676998740e-1f,
                   -1.2420140846e-1f, 1.4249322787e-1f, -1.6668057665e-1f, 2.0000714765e-1f,
                   -2.4999993993e-1f, 3.3333331174e-1f);
    const f32v square = f * f;
    return fma(square * f, p, square * -0.5f);
}

// The value of log, log1p or log2 outside (0, inf), where `x` is the argument of the logarithm.
inline f32v log_edges(f32v x, f32v y) {
    y = select(x == kInf, x, y);
    y = select(x == 0.0f, splat(-kInf), y);
    return select(x >= 0.0f, y, splat(kNan));
}

// log(x) + correction, the latter far below log(x)'s last bit or small beside e ln 2.
inline f32v log_corrected(f32v x, f32v correction) {
    const Split s = split_log(x);
    const f32v tail = fma(s.e, splat(-2.12194440e-4f), log_tail(s.f) + correction);
    return fma(s.e, splat(0.693359375f), s.f + tail);
}

inline f32v log(f32v x) { return log_edges(x, log_corrected(x, f32v{})); }

inline f32v log1p(f32v x) {
    const f32v u = x + 1.0f;
    // What the sum rounded away, from the larger of the two terms' side.
    const f32v lost = select(x > 1.0f, 1.0f - (u - x), x - (u - 1.0f));
    const f32v y = log_edges(u, log_corrected(u, lost / u));
    return select(abs(x) < 1e-7f, x, y);
}

inline f32v log2(f32v x) {
    const Split s = split_log(x);
    const f32v tail = log_tail(s.f);
    // log2(e) = 1.4375 + 0.005195...; f keeps twelve bits beside the first, so their product is exact.
    const f32v f_hi = bit_cast<f32v>(bit_cast<i32v>(s.f) & static_cast<std::int32_t>(0xfffff000));
    const f32v f_lo = (s.f - f_hi) + tail;
    const f32v low = (f_hi + f_lo) * 5.19504088896e-3f + f_lo * 1.4375f;
    return log_edges(x, (s.e + f_hi * 1.4375f) + low);
}

inline f32v copy_sign(f32v magnitude, f32v sign) {
    const i32v bit = bit_cast<i32v>(sign) & static_cast<std::int32_t>(0x80000000);
    return bit_cast<f32v>(bit_cast<i32v>(magnitude) | bit);
}

inline f32v tanh(f32v x) {
    const f32v t = abs(x), z = x * x;
    const f32v p = polynomial(z, splat(-5.70498872745e-3f), 2.06390887954e-2f, -5.37397155531e-2f,
                              1.33314422036e-1f, -3.33332819422e-1f);
    const f32v large = 1.0f - 2.0f / (exp(t + t) + 1.0f);
    // The sign is copied for the small x too, of which -0 would come out as +0.
    return copy_sign(select(t < 0.625f, fma(z * x, p, x), large), x);
}

inline f32v sigmoid(f32v x) {
    const f32v e = exp(-abs(x));
    return select(x < 0.0f, e, splat(1.0f)) / (e + 1.0f);
}

inline f32v softplus(f32v x) {
    return select(x > 0.0f, x, select(x != x, x, f32v{})) + log1p(exp(-abs(x)));
}

// N. Juffa's two polynomials: one in x^2, one for the logarithm of erfc.
inline f32v erf(f32v x) {
    const f32v t = abs(x), s = x * x;
    const f32v high = fma(splat(-1.72853470e-5f), t, splat(3.83197126e-4f));
    const f32v low = fma(splat(-3.88396438e-3f), t, splat(2.42546219e-2f));
    f32v r = polynomial(t, fma(high, s, low), -1.06777877e-1f, -6.34846687e-1f, -1.28717512e-1f);
    r = copy_sign(1.0f - exp(fma(r, t, -t)), x);
    const f32v near = polynomial(s, splat(-5.96761703e-4f), 4.99119423e-3f, -2.67681349e-2f,
                                 1.12819925e-1f, -3.76125336e-1f, 1.28379166e-1f);
    const f32v saturated = copy_sign(splat(1.0f), x);
    r = select(t > 3.92f, saturated, r);
    return select(t > 0.927734375f, r, fma(near, x, x));
}

// The two halves of a float32 vector as float64, and back. AVX2 by intrinsics, because GCC 12 takes
// the language's own conversions through memory, which adds a third to gelu's time.
using f32half = float __attribute__((vector_size(BABYGRAD_VECTOR_BYTES / 2)));
struct Halves {
    f64v lo, hi;
};
#if defined(__AVX2__) && !defined(__AVX512F__)
inline Halves widen(f32v x) {
    return {_mm256_cvtps_pd(_mm256_castps256_ps128(x)),
            _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1))};
}
inline f32v narrow(Halves x) {
    return _mm256_set_m128(_mm256_cvtpd_ps(x.hi), _mm256_cvtpd_ps(x.lo));
}
#else
inline Halves widen(f32v x) {
    f32half half[2];
    std::memcpy(half, &x, sizeof x);
    return {__builtin_convertvector(half[0], f64v), __builtin_convertvector(half[1], f64v)};
}
inline f32v narrow(Halves x) {
    const f32half half[2] = {__builtin_convertvector(x.lo, f32half),
                             __builtin_convertvector(x.hi, f32half)};
    f32v y;
    std::memcpy(&y, half, sizeof y);
    return y;
}
#endif

// Applies a function of f64v to both halves: for functions whose rounding errors in float32 would
// be amplified. One rounding remains.
template <class Fn>
inline f32v in_float64(f32v x, const Fn& fn) {
    const Halves h = widen(x);
    return narrow({fn(h.lo), fn(h.hi)});
}

// exp for x in [-700, 700] with a relative error of 3e-9: a twentieth of float32's rounding.
// Interpolated at the Chebyshev nodes of [-0.35, 0.35].
inline f64v exp_for_float(f64v x) {
    const f64v magic = splat(6755399441055744.0);
    const f64v shifted = fma(x, splat(1.4426950408889634), magic);
    const f64v r = fma(shifted - magic, splat(-0.6931471805599453), x);
    const f64v y = polynomial(r, splat(0.0013942159833661436), 0.008375968226311425,
                              0.041666340142225575, 0.16666405302634305, 0.5000000050018797,
                              1.00000004003887, 1.0);
    // The integer is in the low bits of `shifted`, those of magic being 0.
    return bit_cast<f64v>(bit_cast<u64v>(y) + (bit_cast<u64v>(shifted) << 52));
}

// exp(-s / 2) for s in [0, 1400] with a relative error of 2e-9. A polynomial in s - 2 n ln 2, which
// saves a multiplication, by pairs of terms, which shortens the chain.
inline f64v exp_minus_half(f64v s) {
    const f64v magic = splat(6755399441055744.0);
    const f64v shifted = fma(s, splat(-0.7213475204444817), magic);
    const f64v r = fma(shifted - magic, splat(1.3862943611198906), s), square = r * r;
    f64v y = fma(square, splat(2.1618458642534150e-05),
                 fma(r, splat(-2.6173861163392154e-04), splat(2.6042680003451196e-03)));
    y = fma(square, y, fma(r, splat(-2.0833012947785390e-02), splat(1.2499997899929241e-01)));
    y = fma(square, y, fma(r, splat(-5.0000001925248116e-01), splat(1.0000000005993219)));
    return bit_cast<f64v>(bit_cast<u64v>(y) + (bit_cast<u64v>(shifted) << 52));
}

// The normal distribution's tail beyond z in [0, 15] as density * n / d, with density =
// exp(-z^2 / 2). The quotient's relative error is below 7e-9; all coefficients are positive, so
// nothing cancels. In float32 it would be 5 ulp off.
struct NormalTail {
    f64v density, n, d;
};
inline NormalTail normal_tail(f64v z) {
    return {exp_minus_half(z * z),
            polynomial(z, splat(0.00415321684451001), 0.04088103663114463, 0.18396886238534296,
                       0.4392830491730046, 0.5000000031504181),
            polynomial(z, splat(0.01041045910491923), 0.10247967897580464, 0.4714079707120206,
                       1.2055471199412717, 1.6764511053797788, 1.0)};
}

// Up to here the normal distribution needs no exponential: (cdf(v) - 1/2) / v and (cdf(v) + v pdf(v)
// - 1/2) / v are minimax polynomials in s = v^2, which take three quarters of normal_tail's time. Off
// by 7e-9 of the cdf of -|v|, and by 9e-9 of exp(-s / 2). Two chains each: even powers and odd ones.
constexpr float kNormalCore = 4.0f;
inline f64v cdf_core(f64v s) {
    const f64v square = s * s;
    const f64v odd = polynomial(
        square, splat(-2.4349773137235222e-17), -9.332997248718455e-14, -9.201524572025772e-11,
        -3.991204637899241e-08, -9.418762434489938e-06, -0.0011872035163909976,
        -0.06649030296130867);
    const f64v even = polynomial(
        square, splat(1.4873204123615092e-19), 1.890433804123381e-15, 3.32377061154212e-12,
        2.083297068112771e-09, 6.591524838423368e-07, 0.00011536518466469409, 0.009973420494217558,
        0.39894226527780563);
    return fma(s, odd, even);
}
inline f64v gelu_slope_core(f64v s) {
    const f64v square = s * s;
    const f64v odd = polynomial(
        square, splat(-1.2257585167511835e-19), -1.6577751067118512e-15, -3.0890031767072043e-12,
        -2.0180505488652396e-09, -6.491573194461094e-07, -0.00011319398169875037,
        -0.009498170433393223, -0.2659613502626232);
    const f64v even = polynomial(
        square, splat(2.0698281010641252e-17), 8.435728070032606e-14, 8.755925549057408e-11,
        3.910166286615798e-08, 9.27845664736685e-06, 0.001154033908913113, 0.059840946926824144,
        0.7978845374194546);
    return fma(s, odd, even);
}

// float64 by the C library.
template <class Fn>
inline f64v each_lane(f64v v, const Fn& fn) {
    for (int i = 0; i < kLanes<double>; ++i) v[i] = fn(v[i]);
    return v;
}
inline f64v exp(f64v x) { return each_lane(x, [](double v) { return std::exp(v); }); }
inline f64v expm1(f64v x) { return each_lane(x, [](double v) { return std::expm1(v); }); }
inline f64v log(f64v x) { return each_lane(x, [](double v) { return std::log(v); }); }
inline f64v log1p(f64v x) { return each_lane(x, [](double v) { return std::log1p(v); }); }
inline f64v log2(f64v x) { return each_lane(x, [](double v) { return std::log2(v); }); }
inline f64v tanh(f64v x) { return each_lane(x, [](double v) { return std::tanh(v); }); }
inline f64v erf(f64v x) { return each_lane(x, [](double v) { return std::erf(v); }); }
inline f64v sigmoid(f64v x) {
    const f64v e = exp(-abs(x));
    return select(x < 0.0, e, splat(1.0)) / (e + 1.0);
}
inline f64v softplus(f64v x) {
    return select(x > 0.0, x, select(x != x, x, f64v{})) + log1p(exp(-abs(x)));
}

}  // namespace
}  // namespace babygrad::BABYGRAD_TARGET
