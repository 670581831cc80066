// take and the adjoints of take and take_along_axis. These cut what lies beside the axis, or inside of
// it, never the axis itself, so repeated places are added in the order of the indices whatever the
// threads do.
#include "kernels/scatter/scatter.h"

#include <cstring>

#include "runtime/threads.h"

namespace babygrad::BABYGRAD_TARGET {
namespace {

constexpr std::int64_t kGrain = 1 << 15;  // elements per chunk

template <class T>
void take(const View& x, const std::int64_t* index, const View& out) {
    const std::int64_t n = x.shape[1], b = x.shape[2], k = out.shape[1];
    const std::int64_t grain = b < kGrain ? kGrain / b : 1;
    const T* from = data_as<T>(x);
    T* to = data_as<T>(out);
    parallel_ranges(x.shape[0] * k, grain, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t row = begin; row < end; ++row) {
            const T* source = from + (row / k * n + index[row % k]) * b;
            if (b == 1)
                to[row] = *source;
            else
                std::memcpy(to + row * b, source, static_cast<std::size_t>(b) * sizeof(T));
        }
    });
}

template <class T>
void scatter_add(const View& src, const std::int64_t* index, const View& out) {
    const std::int64_t k = src.shape[1], n = out.shape[1], b = out.shape[2];
    // Columns are cut so that a chunk does about kGrain additions.
    const std::int64_t per_column = k < kGrain ? kGrain / k : 1;
    const std::int64_t width = b < per_column ? b : per_column < 16 ? 16 : per_column;
    const std::int64_t cuts = ceil_div(b, width);
    const T* from = data_as<T>(src);
    T* to = data_as<T>(out);
    const std::int64_t grain = width * k < kGrain ? kGrain / (width * k) : 1;
    parallel_ranges(out.shape[0] * cuts, grain, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
            const std::int64_t a = i / cuts, first = i % cuts * width;
            const std::int64_t m = b - first < width ? b - first : width;
            for (std::int64_t j = 0; j < k; ++j) {
                const T* s = from + (a * k + j) * b + first;
                T* __restrict t = to + (a * n + index[j]) * b + first;
                for (std::int64_t c = 0; c < m; ++c) t[c] += s[c];
            }
        }
    });
}

template <class T>
void scatter_along_axis(const View& src, const std::int64_t* index, const View& out) {
    const std::int64_t k = src.shape[1], n = out.shape[1], b = out.shape[2];
    const T* from = data_as<T>(src);
    T* to = data_as<T>(out);
    const std::int64_t grain = k * b < kGrain ? kGrain / (k * b) : 1;
    parallel_ranges(out.shape[0], grain, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t row = begin * k; row < end * k; ++row)
            for (std::int64_t c = 0; c < b; ++c)
                to[(row / k * n + index[row * b + c]) * b + c] += from[row * b + c];
    });
}

}  // namespace

void fill(ScatterKernels& table) {
    table.take[0] = take<std::uint8_t>;
    table.take[1] = take<std::uint32_t>;
    table.take[2] = take<std::uint64_t>;
    table.scatter_add[0] = scatter_add<float>;
    table.scatter_add[1] = scatter_add<double>;
    table.scatter_along_axis[0] = scatter_along_axis<float>;
    table.scatter_along_axis[1] = scatter_along_axis<double>;
}

}  // namespace babygrad::BABYGRAD_TARGET
