// The reductions, and how each goes along a run of adjacent elements.
#pragma once

#include <cstdint>
#include <limits>
#include <type_traits>

#include "simd/math.h"

namespace babygrad::BABYGRAD_TARGET {
namespace {

// A reduction: how an element enters an accumulator, and how two accumulators join.
template <class A>
struct Sum {
    using Acc = A;
    static constexpr Acc start() { return 0; }
    template <class T>
    static Acc enter(T x) { return static_cast<Acc>(x); }
    static Acc join(Acc a, Acc b) { return a + b; }
};
struct SumOfSquares : Sum<double> {
    template <class T>
    static double enter(T x) { return static_cast<double>(x) * static_cast<double>(x); }
};
template <class A>
struct Prod : Sum<A> {
    static constexpr A start() { return 1; }
    static A join(A a, A b) { return a * b; }
};
// The infinities, or the ends of an integer's range.
template <class A>
constexpr A lowest() {
    using Limits = std::numeric_limits<A>;
    return Limits::has_infinity ? -Limits::infinity() : Limits::lowest();
}
template <class A>
constexpr A highest() {
    using Limits = std::numeric_limits<A>;
    return Limits::has_infinity ? Limits::infinity() : Limits::max();
}
// NaN propagates from either side; the comparison alone would drop a's. Two selections in a row are
// what the compiler turns into vector code; one with `or` is not.
template <class A>
struct Max : Sum<A> {
    static constexpr A start() { return lowest<A>(); }
    static A join(A a, A b) {
        const A larger = a > b ? a : b;
        return a != a ? a : larger;
    }
};
template <class A>
struct Min : Sum<A> {
    static constexpr A start() { return highest<A>(); }
    static A join(A a, A b) {
        const A smaller = a < b ? a : b;
        return a != a ? a : smaller;
    }
};

// A vector entering an accumulator, for the reductions that are written in vectors.
template <class R, class T>
struct Vectors {
    static constexpr bool exist = false;
};

template <class T, template <class> class R>
struct Extremes {
    static constexpr bool exist = true;
    using Acc = Vec<T>;
    static Acc start() { return splat(R<T>::start()); }
    static Acc enter(Acc a, Vec<T> x) { return join(a, x); }
    static Acc join(Acc a, Acc b) { return R<Acc>::join(a, b); }
    static T result(Acc a) { return fold(a, R<T>::join); }
};
template <>
struct Vectors<Max<float>, float> : Extremes<float, Max> {};
template <>
struct Vectors<Min<float>, float> : Extremes<float, Min> {};
template <>
struct Vectors<Max<double>, double> : Extremes<double, Max> {};
template <>
struct Vectors<Min<double>, double> : Extremes<double, Min> {};

template <>
struct Vectors<Sum<double>, float> {
    static constexpr bool exist = true;
    using Acc = Halves;
    static Acc start() { return {f64v{}, f64v{}}; }
    static Acc enter(Acc a, f32v x) { return join(a, widen(x)); }
    static Acc join(Acc a, Acc b) { return {a.lo + b.lo, a.hi + b.hi}; }
    static double result(Acc a) { return sum_lanes(a.lo + a.hi); }
};
template <>
struct Vectors<SumOfSquares, float> : Vectors<Sum<double>, float> {
    static Acc enter(Acc a, f32v x) {
        const Halves h = widen(x);  // whose squares are exact
        return {fma(h.lo, h.lo, a.lo), fma(h.hi, h.hi, a.hi)};
    }
};

// The last `count` elements of a run of at least kLanes, at the end of a vector of `fill`.
template <class T>
Vec<T> load_last(const T* end, std::int64_t count, T fill) {
    Vec<T> place{};
    for (int k = 0; k < kLanes<T>; ++k) place[k] = static_cast<T>(k);
    const T skipped = static_cast<T>(kLanes<T> - count);
    return select(place >= skipped, load(end - kLanes<T>), splat(fill));
}

// In eight accumulators: what has no vectors, and runs of fewer than two, where joining them costs
// more than they save.
template <class R, class T>
typename R::Acc reduce_elements(const T* p, std::int64_t n) {
    constexpr int lanes = 8;
    typename R::Acc acc[lanes];
    for (auto& a : acc) a = R::start();
    std::int64_t j = 0;
    for (; j + lanes <= n; j += lanes)
        for (int k = 0; k < lanes; ++k) acc[k] = R::join(acc[k], R::enter(p[j + k]));
    for (; j < n; ++j) acc[j % lanes] = R::join(acc[j % lanes], R::enter(p[j]));
    for (int half = lanes / 2; half > 0; half /= 2)
        for (int k = 0; k < half; ++k) acc[k] = R::join(acc[k], acc[k + half]);
    return acc[0];
}

// In vectors, from four places at once: the processor then fetches four streams ahead. In blocks, so
// that the error of a sum does not grow with its length.
constexpr std::int64_t kRunBlock = 32;  // vectors of each place

template <class R, class T>
typename R::Acc reduce_vectors(const T* p, std::int64_t n) {
    using V = Vectors<R, T>;
    constexpr std::int64_t lanes = kLanes<T>;
    const std::int64_t quarter = n / (4 * lanes) * lanes;
    typename V::Acc total = V::start();
    std::int64_t rest = 4 * quarter;
    for (; rest + lanes <= n; rest += lanes) total = V::enter(total, load(p + rest));
    if (rest < n) total = V::enter(total, load_last(p + n, n - rest, static_cast<T>(R::start())));
    for (std::int64_t begin = 0; begin < quarter; begin += kRunBlock * lanes) {
        const std::int64_t left = quarter - begin;
        const std::int64_t end = begin + (left < kRunBlock * lanes ? left : kRunBlock * lanes);
        typename V::Acc a = V::start(), b = a, c = a, d = a;
        for (std::int64_t i = begin; i < end; i += lanes) {
            a = V::enter(a, load(p + i));
            b = V::enter(b, load(p + quarter + i));
            c = V::enter(c, load(p + 2 * quarter + i));
            d = V::enter(d, load(p + 3 * quarter + i));
        }
        total = V::join(total, V::join(V::join(a, b), V::join(c, d)));
    }
    return V::result(total);
}

template <class R, class T>
typename R::Acc reduce_run(const T* p, std::int64_t n) {
    if constexpr (Vectors<R, T>::exist)
        if (n >= 2 * kLanes<T>) return reduce_vectors<R>(p, n);
    return reduce_elements<R>(p, n);
}

}  // namespace
}  // namespace babygrad::BABYGRAD_TARGET
