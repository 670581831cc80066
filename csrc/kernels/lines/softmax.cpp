// Softmax family: the maximum, the sum of exponentials and the result, three passes over a line
// that stays in the cache. Sums run in blocks of 64 vectors; exp is within 2 ulp.
#include "kernels/lines/softmax.h"

#include "kernels/lines/lines.h"
#include "simd/math.h"

namespace babygrad::BABYGRAD_TARGET {
namespace {

template <class T>
constexpr T kInfinity = static_cast<T>(__builtin_inf());

template <class T, class Pack>
Vec<T> line_max(const Pack& pack, const Line& x) {
    LargestLanes<T> m(-kInfinity<T>);
    for_vectors(pack, [&](const auto& part, std::int64_t i) {
        m.take(part.get(x, i, -kInfinity<T>));
    });
    return pack.join(m.lanes(), max_nan<T>);
}

// The sum of exp(x - shift).
template <class T, class Pack>
Vec<T> line_exp_sum(const Pack& pack, const Line& x, Vec<T> shift) {
    return joined_sum_of(pack, [&](const auto& part, std::int64_t i) {
        return part.mask(exp(part.get(x, i, -kInfinity<T>) - shift), i, 0);
    });
}

template <class T>
void softmax(const View& x, const View& y) {
    const View* const views[] = {&x, &y};
    for_lines<T>(views, [](const auto& pack, const Line* line) {
        const Vec<T> shift = line_max<T>(pack, line[0]);
        const Vec<T> total = joined_sum_of(pack, [&](const auto& part, std::int64_t i) {
            const Vec<T> e = exp(part.get(line[0], i, -kInfinity<T>) - shift);
            part.put(line[1], i, e);
            return part.mask(e, i, 0);
        });
        for_vectors(pack, [&](const auto& part, std::int64_t i) {
            part.put(line[1], i, part.get(line[1], i, 0) / total);
        });
    });
}

template <class T>
void log_softmax(const View& x, const View& y) {
    const View* const views[] = {&x, &y};
    for_lines<T>(views, [](const auto& pack, const Line* line) {
        const Vec<T> shift = line_max<T>(pack, line[0]);
        const Vec<T> log_sum = log(line_exp_sum<T>(pack, line[0], shift));
        for_vectors(pack, [&](const auto& part, std::int64_t i) {
            part.put(line[1], i, part.get(line[0], i, 0) - shift - log_sum);
        });
    });
}

// Row i of a strip, as a line along it.
template <class T>
Line strip_row(const Line& line, std::int64_t i) {
    return {line.data + i * line.step, sizeof(T), 0};
}

template <class T, class Term, class Result>
void gradient_of_strip(const Line* line, std::int64_t n, std::int64_t columns, const Term& term,
                       const Result& result) {
    const Along<T> strip{columns};
    T totals[kStrip] = {}, blocks[kStrip];
    const Line total{reinterpret_cast<char*>(totals), sizeof(T), 0};
    const Line block{reinterpret_cast<char*>(blocks), sizeof(T), 0};
    for (std::int64_t i = 0; i < n;) {
        const std::int64_t end = n - i < 64 ? n : i + 64;
        for (T& sum : blocks) sum = 0;
        for (; i < end; ++i) {
            const Line gy = strip_row<T>(line[0], i), y = strip_row<T>(line[1], i);
            for_vectors(strip, [&](const auto& part, std::int64_t c) {
                const Vec<T> t = term(part.get(gy, c, 0), part.get(y, c, 0));
                part.put(block, c, part.get(block, c, 0) + t);
            });
        }
        for (int c = 0; c < kStrip; ++c) totals[c] += blocks[c];
    }
    for (std::int64_t i = 0; i < n; ++i) {
        const Line gy = strip_row<T>(line[0], i), y = strip_row<T>(line[1], i);
        const Line gx = strip_row<T>(line[2], i);
        for_vectors(strip, [&](const auto& part, std::int64_t c) {
            part.put(gx, c,
                     result(part.get(gy, c, 0), part.get(y, c, 0), part.get(total, c, 0)));
        });
    }
}

// result(gy, y, the sum of term(gy, y) over the line).
template <class T, class Term, class Result>
void gradient(const View& gy, const View& y, const View& gx, const Term& term,
              const Result& result) {
    const View* const views[] = {&gy, &y, &gx};
    const auto strip = [&](const Line* line, std::int64_t n, std::int64_t columns) {
        gradient_of_strip<T>(line, n, columns, term, result);
    };
    if (for_strips<T>(views, strip)) return;
    for_lines<T>(views, [&](const auto& pack, const Line* line) {
        const Vec<T> total = joined_sum_of(pack, [&](const auto& part, std::int64_t i) {
            return term(part.get(line[0], i, 0), part.get(line[1], i, 0));
        });
        for_vectors(pack, [&](const auto& part, std::int64_t i) {
            part.put(line[2], i,
                     result(part.get(line[0], i, 0), part.get(line[1], i, 0), total));
        });
    });
}

template <class T>
void softmax_grad(const View& gy, const View& y, const View& gx) {
    using V = Vec<T>;
    gradient<T>(gy, y, gx, [](V g, V p) { return g * p; },
                [](V g, V p, V inner) { return p * (g - inner); });
}

template <class T>
void log_softmax_grad(const View& gy, const View& y, const View& gx) {
    using V = Vec<T>;
    gradient<T>(gy, y, gx, [](V g, V) { return g; },
                [](V g, V log_p, V total) { return g - exp(log_p) * total; });
}

// log(sum(exp(x))) in two parts: the maximum, or 0 where that is infinite, and what comes on top of it.
template <class T>
struct LogSumExp {
    Vec<T> shift, rest;
};
template <class T, class Pack>
LogSumExp<T> line_logsumexp(const Pack& pack, const Line& x) {
    const Vec<T> m = line_max<T>(pack, x);
    const Vec<T> shift = select(abs(m) == kInfinity<T>, Vec<T>{}, m);
    return {shift, log(line_exp_sum<T>(pack, x, shift))};
}

template <class T>
void put_scalar(const Across<T>& pack, const Line& line, Vec<T> v) {
    store_strided<T>(line.data, line.next, v, pack.lines);
}
template <class T>
void put_scalar(const Along<T>&, const Line& line, Vec<T> v) {
    *reinterpret_cast<T*>(line.data) = v[0];
}

template <class T>
void logsumexp(const View& x, const View& lse) {
    const View* const views[] = {&x, &lse};
    for_lines<T>(views, [](const auto& pack, const Line* line) {
        const LogSumExp<T> found = line_logsumexp<T>(pack, line[0]);
        put_scalar(pack, line[1], found.rest + found.shift);
    });
}

// The logit comes off the maximum, for off their sum it would leave the digits of the large number.
template <class T>
void cross_entropy(const View& x, const View& target, const View& loss, const View& lse) {
    const View* const views[] = {&x, &loss, &lse};
    for_lines<T>(views, [](const auto& pack, const Line* line) {
        const LogSumExp<T> found = line_logsumexp<T>(pack, line[0]);
        put_scalar(pack, line[1], found.shift);
        put_scalar(pack, line[2], found.rest);
    });
    for (std::int64_t i = 0; i < x.shape[0]; ++i) {
        const auto t = *reinterpret_cast<const std::int64_t*>(target.data + i * target.strides[0]);
        const char* picked = x.data + i * x.strides[0] + t * x.strides[1];
        const T shift = data_as<T>(loss)[i], rest = data_as<T>(lse)[i];
        data_as<T>(loss)[i] =
            t < 0 ? 0 : (shift - *reinterpret_cast<const T*>(picked)) + rest;
        data_as<T>(lse)[i] = rest + shift;
    }
}

template <class T>
void cross_entropy_grad(const View& gy, const View& x, const View& lse, const View& target,
                        const View& gx) {
    const std::int64_t n = x.shape[1];
    parallel_ranges(x.shape[0], n < 16384 ? 16384 / n : 1, [&](std::int64_t a, std::int64_t b) {
        for (std::int64_t row = a; row < b; ++row) {
            const auto t =
                *reinterpret_cast<const std::int64_t*>(target.data + row * target.strides[0]);
            const T g = t < 0 ? 0 : *reinterpret_cast<const T*>(gy.data + row * gy.strides[0]);
            const Vec<T> shift =
                splat(*reinterpret_cast<const T*>(lse.data + row * lse.strides[0]));
            T* out = reinterpret_cast<T*>(gx.data + row * gx.strides[0]);
            for (std::int64_t i = 0; i < n; i += kLanes<T>) {
                const Line in{x.data + row * x.strides[0] + i * x.strides[1], 0, x.strides[1]};
                const std::int64_t m = n - i < kLanes<T> ? n - i : kLanes<T>;
                const Vec<T> p = exp(Across<T>{n, m, false}.get(in, 0, 0) - shift);
                store_part(out + i, t < 0 ? Vec<T>{} : p * g, m);
            }
            if (t >= 0) {
                const char* picked = x.data + row * x.strides[0] + t * x.strides[1];
                const Vec<T> p = exp(splat(*reinterpret_cast<const T*>(picked)) - shift);
                out[t] = (p[0] - 1) * g;
            }
        }
    });
}

template <class T>
void fill_type(SoftmaxKernels& table, int i) {
    table.softmax[i] = softmax<T>;
    table.log_softmax[i] = log_softmax<T>;
    table.softmax_grad[i] = softmax_grad<T>;
    table.log_softmax_grad[i] = log_softmax_grad<T>;
    table.logsumexp[i] = logsumexp<T>;
    table.cross_entropy[i] = cross_entropy<T>;
    table.cross_entropy_grad[i] = cross_entropy_grad<T>;
}

}  // namespace

void fill(SoftmaxKernels& table) {
    fill_type<float>(table, 0);
    fill_type<double>(table, 1);
}

}  // namespace babygrad::BABYGRAD_TARGET
