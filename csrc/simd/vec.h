// Vectors of the target's width, written with the compiler's vector types: + - * / and
// comparisons are the language's own, and `mask ? a : b` is select(). Everything has internal
// linkage, because each target compiles its own copy.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define BABYGRAD_VECTOR_BYTES 64
#elif defined(__AVX2__)
#define BABYGRAD_VECTOR_BYTES 32
#else
#define BABYGRAD_VECTOR_BYTES 16
#endif

// Before a loop whose turns do not depend on one another: it may be vectorised without a look at addresses.
#if defined(__clang__)
#define BABYGRAD_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define BABYGRAD_INDEPENDENT _Pragma("GCC ivdep")
#endif

namespace babygrad::BABYGRAD_TARGET {
namespace {

constexpr int kVectorBytes = BABYGRAD_VECTOR_BYTES;

using f32v = float __attribute__((vector_size(BABYGRAD_VECTOR_BYTES)));
using f64v = double __attribute__((vector_size(BABYGRAD_VECTOR_BYTES)));
using i32v = std::int32_t __attribute__((vector_size(BABYGRAD_VECTOR_BYTES)));
using i64v = std::int64_t __attribute__((vector_size(BABYGRAD_VECTOR_BYTES)));
// For sums of bit patterns that may wrap.
using u32v = std::uint32_t __attribute__((vector_size(BABYGRAD_VECTOR_BYTES)));
using u64v = std::uint64_t __attribute__((vector_size(BABYGRAD_VECTOR_BYTES)));

// For an element type: its vector, and the vector of integers of the same width that holds masks
// (all bits set where true) and bit patterns.
template <class T>
struct VecOf;
template <>
struct VecOf<float> {
    using type = f32v;
    using bits = i32v;
};
template <>
struct VecOf<double> {
    using type = f64v;
    using bits = i64v;
};
template <class T>
using Vec = typename VecOf<T>::type;
template <class T>
using Bits = typename VecOf<T>::bits;

template <class T>
constexpr int kLanes = kVectorBytes / static_cast<int>(sizeof(T));

template <class T>
inline Vec<T> load(const T* p) {
    Vec<T> v;
    std::memcpy(&v, p, sizeof v);
    return v;
}

template <class T>
inline void store(T* p, Vec<T> v) {
    std::memcpy(p, &v, sizeof v);
}

inline f32v splat(float x) {
#if defined(__AVX512F__)
    return _mm512_set1_ps(x);
#elif defined(__AVX2__)
    return _mm256_set1_ps(x);
#else
    return f32v{x, x, x, x};
#endif
}

inline f64v splat(double x) {
#if defined(__AVX512F__)
    return _mm512_set1_pd(x);
#elif defined(__AVX2__)
    return _mm256_set1_pd(x);
#else
    return f64v{x, x};
#endif
}

inline i32v splat(std::int32_t x) { return x - i32v{}; }
inline i64v splat(std::int64_t x) { return x - i64v{}; }

// The first n lanes from memory, the rest `fill`; and back.
template <class T>
inline Vec<T> load_part(const T* p, std::int64_t n, T fill = 0) {
    Vec<T> v = splat(fill);
    std::memcpy(&v, p, static_cast<std::size_t>(n) * sizeof(T));
    return v;
}

template <class T>
inline void store_part(T* p, Vec<T> v, std::int64_t n) {
    std::memcpy(p, &v, static_cast<std::size_t>(n) * sizeof(T));
}

// a * b + c, in one rounding where the target has it.
inline f32v fma(f32v a, f32v b, f32v c) {
#if defined(__AVX512F__)
    return _mm512_fmadd_ps(a, b, c);
#elif defined(__FMA__)
    return _mm256_fmadd_ps(a, b, c);
#else
    return a * b + c;
#endif
}

inline f64v fma(f64v a, f64v b, f64v c) {
#if defined(__AVX512F__)
    return _mm512_fmadd_pd(a, b, c);
#elif defined(__FMA__)
    return _mm256_fmadd_pd(a, b, c);
#else
    return a * b + c;
#endif
}

template <class V>
inline V sqrt(V v) {
    for (std::size_t i = 0; i < sizeof v / sizeof v[0]; ++i) v[i] = std::sqrt(v[i]);
    return v;
}
#if defined(__AVX512F__)
inline f32v sqrt(f32v v) { return _mm512_sqrt_ps(v); }
inline f64v sqrt(f64v v) { return _mm512_sqrt_pd(v); }
#elif defined(__AVX2__)
inline f32v sqrt(f32v v) { return _mm256_sqrt_ps(v); }
inline f64v sqrt(f64v v) { return _mm256_sqrt_pd(v); }
#elif defined(__SSE2__)
inline f32v sqrt(f32v v) { return _mm_sqrt_ps(v); }
inline f64v sqrt(f64v v) { return _mm_sqrt_pd(v); }
#endif

template <class To, class From>
inline To bit_cast(From v) {
    static_assert(sizeof(To) == sizeof(From));
    return reinterpret_cast<To>(v);
}

template <class M, class V>
inline V select(M mask, V a, V b) {
    return mask ? a : b;
}

inline f32v abs(f32v v) { return bit_cast<f32v>(bit_cast<i32v>(v) & 0x7fffffff); }
inline f64v abs(f64v v) { return bit_cast<f64v>(bit_cast<i64v>(v) & 0x7fffffffffffffff); }

// NaN in either operand gives NaN, as numpy's maximum and minimum do.
template <class V>
inline V max_nan(V a, V b) {
    return select(a != a, a, select(a > b, a, b));
}
template <class V>
inline V min_nan(V a, V b) {
    return select(a != a, a, select(a < b, a, b));
}

// The larger of x and m, and m where x is NaN: one instruction, where max_nan takes four.
template <class V>
inline V max_number(V x, V m) {
    return select(x > m, x, m);
}

// A maximum of many vectors, lane by lane: NaN is noted beside it, so that a step waits for one
// instruction of the step before.
template <class T>
struct LargestLanes {
    Vec<T> largest;
    Bits<T> nan{};

    explicit LargestLanes(T start) : largest(splat(start)) {}
    void take(Vec<T> x) {
        largest = max_number(x, largest);
        nan |= x != x;
    }
    Vec<T> lanes() const { return select(nan, splat(static_cast<T>(__builtin_nan(""))), largest); }
};

// Whether a lane of a mask is set.
inline bool any(i32v mask) {
#if defined(__AVX512F__)
    return _mm512_test_epi32_mask(bit_cast<__m512i>(mask), bit_cast<__m512i>(mask)) != 0;
#elif defined(__AVX2__)
    return _mm256_movemask_epi8(bit_cast<__m256i>(mask)) != 0;
#elif defined(__SSE2__)
    return _mm_movemask_epi8(bit_cast<__m128i>(mask)) != 0;
#else
    std::int32_t found = 0;
    for (int i = 0; i < kLanes<float>; ++i) found |= mask[i];
    return found != 0;
#endif
}

// v within [low, high]; NaN stays.
inline f32v clamp(f32v v, float low, float high) {
#if defined(__AVX512F__)
    return _mm512_min_ps(splat(high), _mm512_max_ps(splat(low), v));
#elif defined(__AVX2__)
    return _mm256_min_ps(splat(high), _mm256_max_ps(splat(low), v));
#elif defined(__SSE2__)
    return _mm_min_ps(splat(high), _mm_max_ps(splat(low), v));
#else
    return select(v > high, splat(high), select(v < low, splat(low), v));
#endif
}

inline f64v clamp(f64v v, double low, double high) {
#if defined(__AVX512F__)
    return _mm512_min_pd(splat(high), _mm512_max_pd(splat(low), v));
#elif defined(__AVX2__)
    return _mm256_min_pd(splat(high), _mm256_max_pd(splat(low), v));
#else
    return select(v > high, splat(high), select(v < low, splat(low), v));
#endif
}
// The same from below alone.
inline f32v at_least(f32v v, float low) {
#if defined(__AVX512F__)
    return _mm512_max_ps(splat(low), v);
#elif defined(__AVX2__)
    return _mm256_max_ps(splat(low), v);
#elif defined(__SSE2__)
    return _mm_max_ps(splat(low), v);
#else
    return select(v < low, splat(low), v);
#endif
}
inline f64v at_least(f64v v, double low) {
#if defined(__AVX512F__)
    return _mm512_max_pd(splat(low), v);
#elif defined(__AVX2__)
    return _mm256_max_pd(splat(low), v);
#else
    return select(v < low, splat(low), v);
#endif
}

// Lanes folded in a fixed order: halves onto each other.
template <class V, class Fn>
inline auto fold(V v, const Fn& fn) {
    constexpr int lanes = sizeof v / sizeof v[0];
    auto lane = v[0];
    decltype(lane) lane_values[lanes];
    std::memcpy(lane_values, &v, sizeof v);
    for (int half = lanes / 2; half > 0; half /= 2)
        for (int i = 0; i < half; ++i) lane_values[i] = fn(lane_values[i], lane_values[i + half]);
    return lane_values[0];
}

template <class V>
inline auto sum_lanes(V v) {
    return fold(v, [](auto a, auto b) { return a + b; });
}

}  // namespace
}  // namespace babygrad::BABYGRAD_TARGET
