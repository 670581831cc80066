// Comparisons, predicates, selection, casts and copies: operands of mixed types, one element at a
// time in loops that the compiler turns into vector code. Exact. Cost: memory bandwidth.
#include <cmath>
#include <cstdint>

#include "kernels/elementwise/elementwise.h"

namespace babygrad::BABYGRAD_TARGET {
namespace {

template <class T>
inline T& at(char* row, std::int64_t step, std::int64_t i) {
    return *reinterpret_cast<T*>(row + i * step);
}

// Instantiated with constant steps as well, so that the compiler sees contiguous rows.
template <class Out, class A, class Fn>
inline void row1(char* out, char* a, std::int64_t so, std::int64_t sa, std::int64_t n,
                 const Fn& fn) {
    for (std::int64_t i = 0; i < n; ++i) at<Out>(out, so, i) = fn(at<A>(a, sa, i));
}

template <class Out, class A, class Fn>
inline void map1(const LoopArgs& args, const Fn& fn) {
    constexpr std::int64_t o = sizeof(Out), s = sizeof(A);
    for (std::int64_t row = 0; row < args.rows; ++row) {
        char* out = args.data[0] + row * args.row_step[0];
        char* a = args.data[1] + row * args.row_step[1];
        if (args.step[0] == o && args.step[1] == s)
            row1<Out, A>(out, a, o, s, args.n, fn);
        else
            row1<Out, A>(out, a, args.step[0], args.step[1], args.n, fn);
    }
}

template <class Out, class A, class Fn>
inline void row2(char* out, char* a, char* b, std::int64_t so, std::int64_t sa, std::int64_t sb,
                 std::int64_t n, const Fn& fn) {
    for (std::int64_t i = 0; i < n; ++i)
        at<Out>(out, so, i) = fn(at<A>(a, sa, i), at<A>(b, sb, i));
}

template <class Out, class A, class Fn>
inline void map2(const LoopArgs& args, const Fn& fn) {
    constexpr std::int64_t o = sizeof(Out), s = sizeof(A);
    for (std::int64_t row = 0; row < args.rows; ++row) {
        char* out = args.data[0] + row * args.row_step[0];
        char* a = args.data[1] + row * args.row_step[1];
        char* b = args.data[2] + row * args.row_step[2];
        const std::int64_t so = args.step[0], sa = args.step[1], sb = args.step[2];
        if (so == o && sa == s && sb == s)
            row2<Out, A>(out, a, b, o, s, s, args.n, fn);
        else if (so == o && sa == s && sb == 0)
            row2<Out, A>(out, a, b, o, s, 0, args.n, fn);
        else
            row2<Out, A>(out, a, b, so, sa, sb, args.n, fn);
    }
}

#define BABYGRAD_COMPARE(name, expression)                    \
    struct name {                                             \
        template <class T>                                    \
        bool operator()(T a, T b) const {                     \
            return expression;                                \
        }                                                     \
    };
namespace op {
BABYGRAD_COMPARE(equal, a == b)
BABYGRAD_COMPARE(not_equal, a != b)
BABYGRAD_COMPARE(less, a < b)
BABYGRAD_COMPARE(less_equal, a <= b)
BABYGRAD_COMPARE(greater, a > b)
BABYGRAD_COMPARE(greater_equal, a >= b)
BABYGRAD_COMPARE(logical_and, (a & b) != 0)
BABYGRAD_COMPARE(logical_or, (a | b) != 0)

struct isnan {
    template <class T>
    bool operator()(T x) const {
        return x != x;
    }
};
struct isinf {
    template <class T>
    bool operator()(T x) const {
        return std::fabs(x) == static_cast<T>(__builtin_inf());
    }
};
struct isfinite {
    template <class T>
    bool operator()(T x) const {
        return x - x == 0;
    }
};
}  // namespace op

// numpy's bools are bytes of value 0 or 1.
using Byte = std::uint8_t;

template <class T, class Fn>
void compare_loop(const LoopArgs& args) {
    map2<Byte, T>(args, [](T a, T b) { return static_cast<Byte>(Fn()(a, b)); });
}

template <class T, class Fn>
void predicate_loop(const LoopArgs& args) {
    map1<Byte, T>(args, [](T x) { return static_cast<Byte>(Fn()(x)); });
}

void logical_not_loop(const LoopArgs& args) {
    map1<Byte, Byte>(args, [](Byte x) { return static_cast<Byte>(x == 0); });
}

template <class T>
void copy_loop(const LoopArgs& args) {
    map1<T, T>(args, [](T x) { return x; });
}

template <class To, class From>
void cast_loop(const LoopArgs& args) {
    map1<To, From>(args, [](From x) { return static_cast<To>(x); });
}

template <class T>
inline void where_row(char* out, char* c, char* a, char* b, std::int64_t so, std::int64_t sc,
                      std::int64_t sa, std::int64_t sb, std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i) {
        const T yes = at<T>(a, sa, i), no = at<T>(b, sb, i);
        at<T>(out, so, i) = at<Byte>(c, sc, i) ? yes : no;
    }
}

template <class T>
void where_loop(const LoopArgs& args) {
    constexpr std::int64_t s = sizeof(T);
    for (std::int64_t row = 0; row < args.rows; ++row) {
        char* p[4];
        for (int k = 0; k < 4; ++k) p[k] = args.data[k] + row * args.row_step[k];
        const std::int64_t *step = args.step, n = args.n;
        if (step[0] == s && step[1] == 1 && step[2] == s && step[3] == s)
            where_row<T>(p[0], p[1], p[2], p[3], s, 1, s, s, n);
        else if (step[0] == s && step[1] == 1 && step[2] == s && step[3] == 0)
            where_row<T>(p[0], p[1], p[2], p[3], s, 1, s, 0, n);
        else if (step[0] == s && step[1] == 1 && step[2] == 0 && step[3] == s)
            where_row<T>(p[0], p[1], p[2], p[3], s, 1, 0, s, n);
        else
            where_row<T>(p[0], p[1], p[2], p[3], step[0], step[1], step[2], step[3], n);
    }
}

}  // namespace

void fill(SelectKernels& table) {
#define BABYGRAD_COMPARISON_ROW(name)                                  \
    {                                                                  \
        Loop* row = table.comparison[static_cast<int>(Comparison::name)]; \
        row[static_cast<int>(DType::f32)] = compare_loop<float, op::name>;         \
        row[static_cast<int>(DType::f64)] = compare_loop<double, op::name>;        \
        row[static_cast<int>(DType::i32)] = compare_loop<std::int32_t, op::name>;  \
        row[static_cast<int>(DType::i64)] = compare_loop<std::int64_t, op::name>;  \
        row[static_cast<int>(DType::b8)] = compare_loop<Byte, op::name>;           \
    }
    BABYGRAD_COMPARISON(BABYGRAD_COMPARISON_ROW)
#define BABYGRAD_LOGICAL_ROW(name) \
    table.logical[static_cast<int>(Logical::name)] = compare_loop<Byte, op::name>;
    BABYGRAD_LOGICAL(BABYGRAD_LOGICAL_ROW)
#define BABYGRAD_PREDICATE_ROW(name)                                                       \
    table.predicate[static_cast<int>(Predicate::name)][0] = predicate_loop<float, op::name>; \
    table.predicate[static_cast<int>(Predicate::name)][1] = predicate_loop<double, op::name>;
    BABYGRAD_PREDICATE(BABYGRAD_PREDICATE_ROW)
    table.logical_not = logical_not_loop;
    const Loop wheres[] = {where_loop<Byte>, where_loop<std::uint32_t>, where_loop<std::uint64_t>};
    const Loop copies[] = {copy_loop<Byte>, copy_loop<std::uint32_t>, copy_loop<std::uint64_t>};
    const Loop casts[][kDTypeCount] = {
        {copy_loop<float>, cast_loop<float, double>, cast_loop<float, std::int32_t>,
         cast_loop<float, std::int64_t>, cast_loop<float, Byte>},
        {cast_loop<double, float>, copy_loop<double>, cast_loop<double, std::int32_t>,
         cast_loop<double, std::int64_t>, cast_loop<double, Byte>}};
    for (int i = 0; i < 3; ++i) {
        table.where[i] = wheres[i];
        table.copy[i] = copies[i];
    }
    for (int to = 0; to < 2; ++to)
        for (int from = 0; from < kDTypeCount; ++from) table.cast[to][from] = casts[to][from];
}

}  // namespace babygrad::BABYGRAD_TARGET
