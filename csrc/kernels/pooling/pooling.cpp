// Pooling: window by window. The innermost loop runs over the channels where these are contiguous;
// elsewhere each channel is a plane of its own. Gradients add up per plane, in the order of the
// windows. Cost: memory bandwidth times the windows' overlap.
#include "kernels/pooling/pooling.h"

#include <atomic>

#include "runtime/threads.h"

namespace babygrad::BABYGRAD_TARGET {
namespace {

template <class T>
T& at(const View& v, std::int64_t n, std::int64_t h, std::int64_t w, std::int64_t c) {
    return *reinterpret_cast<T*>(v.data + n * v.strides[0] + h * v.strides[1] + w * v.strides[2] +
                                 c * v.strides[3]);
}

// Channels [first, last) of image n.
struct Planes {
    std::int64_t n, first, last;
};

// Calls fn(planes) for all planes, those of contiguous channels together.
template <class Fn>
void for_planes(const View& x, const Fn& fn) {
    const std::int64_t c = x.shape[3], item = itemsize(x.dtype);
    const std::int64_t block = x.strides[3] == item ? c : 1, blocks = ceil_div(c, block);
    const std::int64_t work = x.shape[1] * x.shape[2] * block;
    const std::int64_t grain = work < 16384 ? 16384 / work : 1;
    parallel_ranges(x.shape[0] * blocks, grain, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i)
            fn(Planes{i / blocks, i % blocks * block, i % blocks * block + block});
    });
}

// The part of a window along one axis that lies inside [0, size): taps [first, last) from `start`.
struct Span {
    std::int64_t start, first, last, counted;
};

Span span(const Pooling& p, int axis, std::int64_t out, std::int64_t size) {
    const std::int64_t d = p.dilation[axis], start = out * p.stride[axis] - p.before[axis];
    Span s{start, start < 0 ? ceil_div(-start, d) : 0, p.kernel[axis], 0};
    if (start + (s.last - 1) * d >= size) s.last = size > start ? ceil_div(size - start, d) : 0;
    if (s.last < s.first) s.last = s.first;
    const std::int64_t low = p.count_padding ? -p.before[axis] : 0;
    const std::int64_t high = p.count_padding ? size + p.after[axis] : size;
    const std::int64_t begin = start > low ? start : low;
    const std::int64_t end = start + p.kernel[axis];
    s.counted = (end < high ? end : high) - begin;
    return s;
}

// Calls fn(h, w) for the window's pixels inside the image.
template <class Fn>
inline void for_taps(const Pooling& p, const Span& rows, const Span& columns, const Fn& fn) {
    for (std::int64_t i = rows.first; i < rows.last; ++i)
        for (std::int64_t j = columns.first; j < columns.last; ++j)
            fn(rows.start + i * p.dilation[0], columns.start + j * p.dilation[1]);
}

template <class Fn>
inline void for_windows(const Pooling& p, const View& image, const View& out, const Fn& fn) {
    for (std::int64_t i = 0; i < out.shape[1]; ++i)
        for (std::int64_t j = 0; j < out.shape[2]; ++j)
            fn(i, j, span(p, 0, i, image.shape[1]), span(p, 1, j, image.shape[2]));
}

// One tap of the windows at y: a larger value wins, or the first NaN, or the first pixel of all.
// Instantiated with constant steps as well, so that contiguous channels become vector code.
template <class T>
inline void enter_tap(const T* __restrict x, T* __restrict y, std::int64_t* __restrict index,
                      std::int64_t x_step, std::int64_t y_step, std::int64_t index_step,
                      std::int64_t count, std::int64_t place) {
    for (std::int64_t c = 0; c < count; ++c) {
        const T value = x[c * x_step], best = y[c * y_step];
        const std::int64_t winner = index[c * index_step];
        const bool wins = (value > best) | ((value != value) & (best == best)) | (winner < 0);
        y[c * y_step] = wins ? value : best;
        index[c * index_step] = wins ? place : winner;
    }
}

template <class T>
void max_pool(const Pooling& p, const View& x, const View& y, const View& index) {
    constexpr std::int64_t item = sizeof(T);
    const std::int64_t xs = x.strides[3] / item, ys = y.strides[3] / item;
    const std::int64_t is = index.strides[3] / 8;
    for_planes(x, [&](const Planes& q) {
        for_windows(p, x, y, [&](std::int64_t i, std::int64_t j, const Span& a, const Span& b) {
            for (std::int64_t c = q.first; c < q.last; ++c) {
                at<T>(y, q.n, i, j, c) = static_cast<T>(-__builtin_inf());
                at<std::int64_t>(index, q.n, i, j, c) = -1;
            }
            for_taps(p, a, b, [&](std::int64_t h, std::int64_t w) {
                const std::int64_t place = h * x.shape[2] + w, count = q.last - q.first;
                const T* value = &at<T>(x, q.n, h, w, q.first);
                T* best = &at<T>(y, q.n, i, j, q.first);
                std::int64_t* winner = &at<std::int64_t>(index, q.n, i, j, q.first);
                if (xs == 1 && ys == 1 && is == 1)
                    enter_tap(value, best, winner, 1, 1, 1, count, place);
                else
                    enter_tap(value, best, winner, xs, ys, is, count, place);
            });
        });
    });
}

template <class T>
bool max_pool_grad(const View& gy, const View& index, const View& gx) {
    const std::int64_t width = gx.shape[2], size = gx.shape[1] * width;
    std::atomic<bool> valid{true};
    for_planes(gx, [&](const Planes& q) {
        for (std::int64_t i = 0; i < gy.shape[1]; ++i)
            for (std::int64_t j = 0; j < gy.shape[2]; ++j)
                for (std::int64_t c = q.first; c < q.last; ++c) {
                    const std::int64_t place = at<std::int64_t>(index, q.n, i, j, c);
                    if (place < 0) continue;  // the window has no pixel
                    if (place >= size) {
                        valid.store(false, std::memory_order_relaxed);
                        continue;
                    }
                    at<T>(gx, q.n, place / width, place % width, c) += at<T>(gy, q.n, i, j, c);
                }
    });
    return valid.load();
}

template <class T>
void avg_pool(const Pooling& p, const View& x, const View& y) {
    for_planes(x, [&](const Planes& q) {
        for_windows(p, x, y, [&](std::int64_t i, std::int64_t j, const Span& a, const Span& b) {
            const T count = static_cast<T>(a.counted * b.counted);
            for (std::int64_t c = q.first; c < q.last; ++c) at<T>(y, q.n, i, j, c) = 0;
            for_taps(p, a, b, [&](std::int64_t h, std::int64_t w) {
                for (std::int64_t c = q.first; c < q.last; ++c)
                    at<T>(y, q.n, i, j, c) += at<T>(x, q.n, h, w, c);
            });
            for (std::int64_t c = q.first; c < q.last; ++c) at<T>(y, q.n, i, j, c) /= count;
        });
    });
}

template <class T>
void avg_pool_grad(const Pooling& p, const View& gy, const View& gx) {
    for_planes(gx, [&](const Planes& q) {
        for_windows(p, gx, gy, [&](std::int64_t i, std::int64_t j, const Span& a, const Span& b) {
            const T count = static_cast<T>(a.counted * b.counted);
            for_taps(p, a, b, [&](std::int64_t h, std::int64_t w) {
                for (std::int64_t c = q.first; c < q.last; ++c)
                    at<T>(gx, q.n, h, w, c) += at<T>(gy, q.n, i, j, c) / count;
            });
        });
    });
}

template <class T>
void fill_type(PoolingKernels& table, int i) {
    table.max_pool[i] = max_pool<T>;
    table.max_pool_grad[i] = max_pool_grad<T>;
    table.avg_pool[i] = avg_pool<T>;
    table.avg_pool_grad[i] = avg_pool_grad<T>;
}

}  // namespace

void fill(PoolingKernels& table) {
    fill_type<float>(table, 0);
    fill_type<double>(table, 1);
}

}  // namespace babygrad::BABYGRAD_TARGET
