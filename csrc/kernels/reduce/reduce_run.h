// The reductions, and how each goes along a run of adjacent elements.
#pragma once

#include <cstdint>
#include <limits>
#include <type_traits>

#include "simd/math.h"

namespace babygrad::BABYGRAD_TARGET {
namespace {

// A reduction: how an element enters an accumulator, and how two accumulators join. Where
// deviations count, the centre follows the element: a pack that is empty elsewhere.
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
struct SquaredDeviations : Sum<double> {
    template <class T>
    static double enter(T x, double centre) {
        const double d = static_cast<double>(x) - centre;
        return d * d;
    }
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

// Accumulators of the elements' own type.
template <class T, template <class> class R>
struct InPlace {
    static constexpr bool exist = true;
    using Acc = Vec<T>;
    static Acc start() { return splat(R<T>::start()); }
    static Acc enter(Acc a, Vec<T> x) { return join(a, x); }
    static Acc join(Acc a, Acc b) { return R<Acc>::join(a, b); }
    static T result(Acc a) { return fold(a, R<T>::join); }
    static Acc read(const T* acc) { return load(acc); }
    static void write(T* acc, Acc a) { store(acc, a); }
};
template <>
struct Vectors<Max<float>, float> : InPlace<float, Max> {};
template <>
struct Vectors<Min<float>, float> : InPlace<float, Min> {};
template <>
struct Vectors<Max<double>, double> : InPlace<double, Max> {};
template <>
struct Vectors<Min<double>, double> : InPlace<double, Min> {};

template <>
struct Vectors<Sum<double>, float> {
    static constexpr bool exist = true;
    using Acc = Halves;
    static Acc start() { return {f64v{}, f64v{}}; }
    static Acc enter(Acc a, f32v x) { return join(a, widen(x)); }
    static Acc join(Acc a, Acc b) { return {a.lo + b.lo, a.hi + b.hi}; }
    static double result(Acc a) { return sum_lanes(a.lo + a.hi); }
    static Acc read(const double* acc) { return {load(acc), load(acc + kLanes<double>)}; }
    static void write(double* acc, Acc a) {
        store(acc, a.lo);
        store(acc + kLanes<double>, a.hi);
    }
};
template <>
struct Vectors<SumOfSquares, float> : Vectors<Sum<double>, float> {
    static Acc enter(Acc a, f32v x) {
        const Halves h = widen(x);  // whose squares are exact
        return {fma(h.lo, h.lo, a.lo), fma(h.hi, h.hi, a.hi)};
    }
};
template <>
struct Vectors<SquaredDeviations, float> : Vectors<Sum<double>, float> {
    static Halves spread(double centre) { return {splat(centre), splat(centre)}; }
    static Acc enter(Acc a, f32v x, Halves centre) {
        const Halves h = widen(x);
        const f64v lo = h.lo - centre.lo, hi = h.hi - centre.hi;
        return {fma(lo, lo, a.lo), fma(hi, hi, a.hi)};
    }
};
template <>
struct Vectors<Sum<double>, double> : InPlace<double, Sum> {
    static Acc enter(Acc a, f64v x) { return a + x; }
};
template <>
struct Vectors<SumOfSquares, double> : Vectors<Sum<double>, double> {
    static Acc enter(Acc a, f64v x) { return fma(x, x, a); }
};
template <>
struct Vectors<SquaredDeviations, double> : Vectors<Sum<double>, double> {
    static f64v spread(double centre) { return splat(centre); }
    static Acc enter(Acc a, f64v x, f64v centre) {
        const f64v d = x - centre;
        return fma(d, d, a);
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

// One by one: what has no vectors, and runs of fewer than two, where joining vectors costs more
// than they save.
template <class R, class T, class... C>
typename R::Acc reduce_elements(const T* p, std::int64_t n, C... centre) {
    typename R::Acc acc = R::start();
    for (std::int64_t j = 0; j < n; ++j) acc = R::join(acc, R::enter(p[j], centre...));
    return acc;
}

// In vectors, from four places at once: the processor then fetches four streams ahead. Where there
// is a `next` run, which it does not foresee, that is asked for meanwhile: lines of 16 KB take a
// fifth less time, one run in a cache a sixth more. In blocks, so that the error of a sum
// does not grow with its length.
constexpr std::int64_t kRunBlock = 32;  // vectors of each place

template <class R, bool asks, class T, class... C>
typename R::Acc reduce_vectors(const T* p, std::int64_t n, const T* next, C... centre) {
    using V = Vectors<R, T>;
    constexpr std::int64_t lanes = kLanes<T>;
    const std::int64_t quarter = n / (4 * lanes) * lanes;
    typename V::Acc total = V::start();
    typename R::Acc tail = R::start();
    std::int64_t rest = 4 * quarter;
    for (; rest + lanes <= n; rest += lanes)
        total = V::enter(total, load(p + rest), V::spread(centre)...);
    if constexpr (sizeof...(C) == 0) {
        if (rest < n)
            total = V::enter(total, load_last(p + n, n - rest, static_cast<T>(R::start())));
    } else {  // whose deviations no element that fills up a vector would leave as they are
        for (; rest < n; ++rest) tail = R::join(tail, R::enter(p[rest], centre...));
    }
    for (std::int64_t begin = 0; begin < quarter; begin += kRunBlock * lanes) {
        const std::int64_t left = quarter - begin;
        const std::int64_t end = begin + (left < kRunBlock * lanes ? left : kRunBlock * lanes);
        typename V::Acc a = V::start(), b = a, c = a, d = a;
        for (std::int64_t i = begin; i < end; i += lanes) {
            for (std::int64_t k = 0; k < 4 && asks; ++k) __builtin_prefetch(next + k * quarter + i);
            a = V::enter(a, load(p + i), V::spread(centre)...);
            b = V::enter(b, load(p + quarter + i), V::spread(centre)...);
            c = V::enter(c, load(p + 2 * quarter + i), V::spread(centre)...);
            d = V::enter(d, load(p + 3 * quarter + i), V::spread(centre)...);
        }
        total = V::join(total, V::join(V::join(a, b), V::join(c, d)));
    }
    return R::join(V::result(total), tail);
}

template <class R, class T, class... C>
typename R::Acc reduce_run(const T* p, std::int64_t n, const T* next, C... centre) {
    if constexpr (Vectors<R, T>::exist) {
        if (n >= 2 * kLanes<T>)
            return next ? reduce_vectors<R, true>(p, n, next, centre...)
                        : reduce_vectors<R, false>(p, n, next, centre...);
    }
    return reduce_elements<R>(p, n, centre...);
}

}  // namespace
}  // namespace babygrad::BABYGRAD_TARGET
