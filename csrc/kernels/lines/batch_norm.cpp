// Batch normalization over (M, C, L). The statistics take one pass: sums of x - k and (x - k)^2 in
// float64, with k the channel's first element, which keeps the cancellation of E[d^2] - E[d]^2 far
// below float32's rounding. Chunks of M are added up in order. Cost: two reads and a write.
#include <cmath>
#include <cstring>
#include <type_traits>

#include "kernels/lines/norm.h"
#include "runtime/memory.h"
#include "simd/vec.h"
#include "runtime/threads.h"

namespace babygrad::BABYGRAD_TARGET {
namespace {

struct Geometry {
    std::int64_t m, c, l, m_step, c_step;  // steps in elements
};

template <class T>
Geometry geometry(const View& x) {
    constexpr std::int64_t item = sizeof(T);
    return {x.shape[0], x.shape[1], x.shape[2], x.strides[0] / item, x.strides[1] / item};
}

std::int64_t grain_of(const Geometry& g) {
    const std::int64_t row = g.c * g.l;
    return row < 32768 ? 32768 / row : 1;
}

// Calls fn(offset, channel, count) for the contiguous runs of the rows [begin, end): all channels
// at once when they are what is contiguous (count = C, channel 0), else one channel's L.
template <class Fn>
inline void for_runs(const Geometry& g, std::int64_t begin, std::int64_t end, const Fn& fn) {
    for (std::int64_t m = begin; m < end; ++m) {
        if (g.l == 1) {
            fn(m * g.m_step, 0, g.c);
        } else {
            for (std::int64_t c = 0; c < g.c; ++c) fn(m * g.m_step + c * g.c_step, c, g.l);
        }
    }
}

// The sums over a run of two values per element; `scalar` runs belong to one channel. Sixteen partial
// sums let the additions overlap.
template <class Pair>
inline void add_run(const Geometry& g, std::int64_t channel, std::int64_t count, double* first,
                    double* second, const Pair& pair) {
    if (g.l == 1) {
        for (std::int64_t i = 0; i < count; ++i) {
            const auto p = pair(i, i);
            first[i] += p.a;
            second[i] += p.b;
        }
        return;
    }
    double a[16] = {}, b[16] = {};
    std::int64_t i = 0;
    for (; i + 16 <= count; i += 16)
        for (int k = 0; k < 16; ++k) {
            const auto p = pair(i + k, channel);
            a[k] += p.a;
            b[k] += p.b;
        }
    for (; i < count; ++i) {
        const auto p = pair(i, channel);
        a[0] += p.a;
        b[0] += p.b;
    }
    for (int k = 1; k < 16; ++k) {
        a[0] += a[k];
        b[0] += b[k];
    }
    first[channel] += a[0];
    second[channel] += b[0];
}

struct Two {
    double a, b;
};

// Sums of two values per element, for each channel: sums[0, C) and sums[C, 2C). `make` gives, for
// a run's offset, the function of (position in the run, channel).
template <class Make>
void channel_sums(const Geometry& g, double* sums, const Make& make) {
    const std::int64_t grain = grain_of(g), chunks = ceil_div(g.m, grain);
    const std::size_t bytes = static_cast<std::size_t>(2 * g.c) * sizeof(double);
    const Workspace workspace(static_cast<std::size_t>(chunks) * bytes);
    double* partial = workspace.as<double>();
    parallel_ranges(g.m, grain, [&](std::int64_t begin, std::int64_t end) {
        double* mine = partial + begin / grain * 2 * g.c;
        std::memset(mine, 0, bytes);
        for_runs(g, begin, end, [&](std::int64_t offset, std::int64_t channel, std::int64_t n) {
            add_run(g, channel, n, mine, mine + g.c, make(offset));
        });
    });
    std::memset(sums, 0, bytes);
    for (std::int64_t i = 0; i < chunks; ++i)
        for (std::int64_t c = 0; c < 2 * g.c; ++c) sums[c] += partial[i * 2 * g.c + c];
}

// out[i] = fn(i, channel) over all elements, where fn comes from make(offset).
template <class T, class Make>
void for_each_run(const Geometry& g, T* out, const Make& make) {
    parallel_ranges(g.m, grain_of(g), [&](std::int64_t begin, std::int64_t end) {
        for_runs(g, begin, end, [&](std::int64_t offset, std::int64_t channel, std::int64_t n) {
            const auto fn = make(offset);
            T* y = out + offset;
            if (g.l == 1) {
                BABYGRAD_INDEPENDENT
                for (std::int64_t i = 0; i < n; ++i) y[i] = fn(i, i);
            } else {
                BABYGRAD_INDEPENDENT
                for (std::int64_t i = 0; i < n; ++i) y[i] = fn(i, channel);
            }
        });
    });
}

// The sums again, of what is taken relative to a power of two in each channel with squares that overflow
// or vanish; `factor` has these powers. float32's do neither in float64.
__attribute__((noinline, cold)) void far_sums(const Geometry& g, const double* x,
                                              const double* first, double eps, double* sums,
                                              double* factor) {
    const double size = static_cast<double>(g.m * g.l);
    bool plain = true;
    for (std::int64_t c = 0; c < g.c; ++c) {
        const double d = sums[c] / size, v = sums[g.c + c] / size - d * d + eps;
        factor[c] = is_plain(v) ? 1 : v <= NormRange<double>::small ? NormRange<double>::up
                                                                    : NormRange<double>::down;
        plain = plain && is_plain(v);
    }
    if (plain) return;
    channel_sums(g, sums, [=](std::int64_t offset) {
        const double* run = x + offset;
        return [=](std::int64_t i, std::int64_t c) {
            const double d = run[i] * factor[c] - first[c] * factor[c];
            return Two{d, d * d};
        };
    });
}

template <class T>
void batch_norm(const BatchNormArgs& a) {
    const Geometry g = geometry<T>(a.x);
    const Workspace workspace(static_cast<std::size_t>(3 * g.c) * sizeof(double) +
                              static_cast<std::size_t>(3 * g.c) * sizeof(T));
    double *sums = workspace.as<double>(), *factor = sums + 2 * g.c;
    T* first = reinterpret_cast<T*>(factor + g.c);
    T *scale = first + g.c, *bias = scale + g.c;
    const T* x = data_as<T>(a.x);
    for (std::int64_t c = 0; c < g.c; ++c) first[c] = x[c * g.c_step];
    channel_sums(g, sums, [=](std::int64_t offset) {
        const T* run = x + offset;
        return [=](std::int64_t i, std::int64_t c) {
            const double d = static_cast<double>(run[i]) - static_cast<double>(first[c]);
            return Two{d, d * d};
        };
    });
    const double size = static_cast<double>(g.m * g.l);
    T *mean = data_as<T>(a.mean), *var = data_as<T>(a.var), *rstd = data_as<T>(a.rstd);
    if constexpr (std::is_same_v<T, double>) far_sums(g, x, first, a.eps, sums, factor);
    for (std::int64_t c = 0; c < g.c; ++c) {
        const double f = std::is_same_v<T, double> ? factor[c] : 1;
        const double d = sums[c] / size, rest = sums[g.c + c] / size - d * d;
        const double v = rest < 0 ? 0 : rest;
        mean[c] = static_cast<T>(static_cast<double>(first[c]) + d / f);
        var[c] = static_cast<T>(v / f / f);
        rstd[c] = static_cast<T>(f / std::sqrt(v + a.eps * f * f));
        scale[c] = a.w.data ? rstd[c] * data_as<T>(a.w)[c] : rstd[c];
        bias[c] = a.b.data ? data_as<T>(a.b)[c] : 0;
    }
    for_each_run<T>(g, data_as<T>(a.y), [=](std::int64_t offset) {
        const T* run = x + offset;
        return [=](std::int64_t i, std::int64_t c) { return (run[i] - mean[c]) * scale[c] + bias[c]; };
    });
}

template <class T>
void batch_norm_grad(const BatchNormGradArgs& a) {
    const Geometry g = geometry<T>(a.x);
    const Workspace workspace(static_cast<std::size_t>(2 * g.c) * sizeof(double) +
                              static_cast<std::size_t>(3 * g.c) * sizeof(T));
    double* sums = workspace.as<double>();
    T* scale = reinterpret_cast<T*>(sums + 2 * g.c);
    T *mean_g = scale + g.c, *mean_along = mean_g + g.c;
    const T *x = data_as<T>(a.x), *gy = data_as<T>(a.gy);
    const T *mean = data_as<T>(a.mean), *rstd = data_as<T>(a.rstd);
    channel_sums(g, sums, [=](std::int64_t offset) {
        const T *run = x + offset, *upstream = gy + offset;
        return [=](std::int64_t i, std::int64_t c) {
            return Two{static_cast<double>(upstream[i]),
                       static_cast<double>(upstream[i] * ((run[i] - mean[c]) * rstd[c]))};
        };
    });
    const double size = static_cast<double>(g.m * g.l);
    for (std::int64_t c = 0; c < g.c; ++c) {
        scale[c] = a.w.data ? rstd[c] * data_as<T>(a.w)[c] : rstd[c];
        mean_g[c] = static_cast<T>(sums[c] / size);
        mean_along[c] = static_cast<T>(sums[g.c + c] / size);
        if (a.gw.data) data_as<T>(a.gw)[c] = static_cast<T>(sums[g.c + c]);
        if (a.gb.data) data_as<T>(a.gb)[c] = static_cast<T>(sums[c]);
    }
    for_each_run<T>(g, data_as<T>(a.gx), [=](std::int64_t offset) {
        const T *run = x + offset, *upstream = gy + offset;
        return [=](std::int64_t i, std::int64_t c) {
            const T x_hat = (run[i] - mean[c]) * rstd[c];
            return (upstream[i] - mean_g[c] - x_hat * mean_along[c]) * scale[c];
        };
    });
}

template <class T>
void channel_affine(const ChannelAffineArgs& a) {
    const T *x = data_as<T>(a.x), *mean = data_as<T>(a.mean), *scale = data_as<T>(a.scale);
    const T* bias = data_as<T>(a.bias);
    for_each_run<T>(geometry<T>(a.x), data_as<T>(a.y), [=](std::int64_t offset) {
        const T* run = x + offset;
        return [=](std::int64_t i, std::int64_t c) { return (run[i] - mean[c]) * scale[c] + bias[c]; };
    });
}

}  // namespace

void fill_batch_norm(NormKernels& table) {
    table.batch_norm[0] = batch_norm<float>;
    table.batch_norm[1] = batch_norm<double>;
    table.batch_norm_grad[0] = batch_norm_grad<float>;
    table.batch_norm_grad[1] = batch_norm_grad<double>;
    table.channel_affine[0] = channel_affine<float>;
    table.channel_affine[1] = channel_affine<double>;
}

}  // namespace babygrad::BABYGRAD_TARGET
