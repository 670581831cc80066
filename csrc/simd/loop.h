// The inner loop of every vectorised elementwise operation, and its three ways to read an operand.
#pragma once

#include <utility>

#include "runtime/loops.h"
#include "simd/vec.h"

namespace babygrad::BABYGRAD_TARGET {
namespace {

template <class T>
struct Dense {
    const T* p;
    Dense(const char* data, std::int64_t) : p(reinterpret_cast<const T*>(data)) {}
    Vec<T> at(std::int64_t i) const { return load(p + i); }
    Vec<T> part(std::int64_t i, std::int64_t n) const { return load_part(p + i, n); }
};

template <class T>
struct Repeated {
    Vec<T> v;
    Repeated(const char* data, std::int64_t) : v(splat(*reinterpret_cast<const T*>(data))) {}
    Vec<T> at(std::int64_t) const { return v; }
    Vec<T> part(std::int64_t, std::int64_t) const { return v; }
};

template <class T>
struct Strided {
    const char* p;
    std::int64_t step;
    Strided(const char* data, std::int64_t s) : p(data), step(s) {}
    // Dense beside operands that are not. Lanes set one by one stay in registers: by way of memory, the
    // load would wait for the last of the stores.
    Vec<T> at(std::int64_t i) const {
        if (step == sizeof(T)) return load(reinterpret_cast<const T*>(p) + i);
        Vec<T> v{};
        #pragma GCC unroll 16
        for (int k = 0; k < kLanes<T>; ++k) v[k] = *reinterpret_cast<const T*>(p + (i + k) * step);
        return v;
    }
    Vec<T> part(std::int64_t i, std::int64_t n) const {
        T lanes[kLanes<T>] = {};
        for (int k = 0; k < n; ++k) lanes[k] = *reinterpret_cast<const T*>(p + (i + k) * step);
        return load(lanes);
    }
};

template <class T>
inline void store_strided(char* p, std::int64_t step, Vec<T> v, std::int64_t n) {
    T lanes[kLanes<T>];
    store(lanes, v);
    for (int k = 0; k < n; ++k) *reinterpret_cast<T*>(p + k * step) = lanes[k];
}

// The remainder goes through the same vector operation as the body, so that an element's result
// does not depend on where it stands in its row.
template <class T, class Op, class... In>
inline void run_row(char* out, std::int64_t out_step, std::int64_t n, const Op& op,
                    const In&... in) {
    constexpr std::int64_t lanes = kLanes<T>;
    std::int64_t i = 0;
    if (out_step == sizeof(T)) {
        T* y = reinterpret_cast<T*>(out);
        for (; i + lanes <= n; i += lanes) store(y + i, op(in.at(i)...));
        if (i < n) store_part(y + i, op(in.part(i, n - i)...), n - i);
        return;
    }
    for (; i < n; i += lanes) {
        const std::int64_t m = n - i < lanes ? n - i : lanes;
        store_strided<T>(out + i * out_step, out_step, op(in.part(i, m)...), m);
    }
}

template <class T, template <class> class... Reader, class Op, std::size_t... k>
inline void run_rows(const LoopArgs& a, const Op& op, std::index_sequence<k...>) {
    for (std::int64_t row = 0; row < a.rows; ++row)
        run_row<T>(a.data[0] + row * a.row_step[0], a.step[0], a.n, op,
                   Reader<T>(a.data[k + 1] + row * a.row_step[k + 1], a.step[k + 1])...);
}

// Loops over one, two and three inputs. Op is built from the call's parameters.
template <class T, class Op>
void unary_loop(const LoopArgs& a) {
    const Op op(a.params);
    const auto inputs = std::make_index_sequence<1>();
    if (a.step[1] == sizeof(T)) return run_rows<T, Dense>(a, op, inputs);
    run_rows<T, Strided>(a, op, inputs);
}

template <class T, class Op>
void binary_loop(const LoopArgs& a) {
    const Op op(a.params);
    const auto inputs = std::make_index_sequence<2>();
    constexpr std::int64_t dense = sizeof(T);
    if (a.step[1] == dense && a.step[2] == dense) return run_rows<T, Dense, Dense>(a, op, inputs);
    if (a.step[1] == dense && a.step[2] == 0) return run_rows<T, Dense, Repeated>(a, op, inputs);
    if (a.step[1] == 0 && a.step[2] == dense) return run_rows<T, Repeated, Dense>(a, op, inputs);
    run_rows<T, Strided, Strided>(a, op, inputs);
}

template <class T, class Op>
void ternary_loop(const LoopArgs& a) {
    const Op op(a.params);
    const auto inputs = std::make_index_sequence<3>();
    if (a.step[1] == sizeof(T) && a.step[2] == 0 && a.step[3] == 0)
        return run_rows<T, Dense, Repeated, Repeated>(a, op, inputs);
    run_rows<T, Strided, Strided, Strided>(a, op, inputs);
}

}  // namespace
}  // namespace babygrad::BABYGRAD_TARGET
