// Layer and RMS normalization: each row is read from the cache after the first pass; variances take
// two passes; sums run in blocks. The gradients of w and b are added up per chunk of rows and then in
// float64 over the chunks. Cost: memory bandwidth.
#include "kernels/norm.h"

#include <cmath>
#include <cstring>

#include "kernels/lines.h"
#include "targets/targets.h"

namespace babygrad::BABYGRAD_TARGET {

void fill_batch_norm(NormKernels& table);  // the rows in batch_norm.cpp

namespace {

template <class T>
Line line_at(const View& view, std::int64_t row, std::int64_t n) {
    return {view.data + row * n * static_cast<std::int64_t>(sizeof(T)), sizeof(T), 0};
}

std::int64_t rows_per_chunk(std::int64_t n) { return n < 16384 ? 16384 / n : 1; }

template <class T>
void layer_norm(const LayerNormArgs& a) {
    const std::int64_t n = a.x.shape[1];
    const Along<T> row{n};
    const Line w{a.w.data, sizeof(T), 0}, b{a.b.data, sizeof(T), 0};
    const T size = static_cast<T>(n);
    parallel_ranges(a.x.shape[0], rows_per_chunk(n), [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t r = begin; r < end; ++r) {
            const Line x = line_at<T>(a.x, r, n), y = line_at<T>(a.y, r, n);
            Vec<T> mean{};
            if (a.mean.data) {
                BlockedSum<Vec<T>> sum;
                for (std::int64_t i = 0; i < n; i += kLanes<T>) sum.add(row.get(x, i, 0));
                mean = finish_sum(row, sum) / size;
                data_as<T>(a.mean)[r] = mean[0];
            }
            BlockedSum<Vec<T>> squares;
            for (std::int64_t i = 0; i < n; i += kLanes<T>) {
                const Vec<T> d = row.mask(row.get(x, i, 0) - mean, i, 0);
                squares.add(d * d);
            }
            const T var = finish_sum(row, squares)[0] / size;
            const T rstd = 1 / std::sqrt(var + static_cast<T>(a.eps));
            data_as<T>(a.rstd)[r] = rstd;
            for (std::int64_t i = 0; i < n; i += kLanes<T>) {
                Vec<T> v = (row.get(x, i, 0) - mean) * rstd;
                if (a.w.data) v = v * row.get(w, i, 0);
                if (a.b.data) v = v + row.get(b, i, 0);
                row.put(y, i, v);
            }
        }
    });
}

// gw and gb of a chunk of rows: two sums of n beside each other.
template <class T>
void add_weight_gradients(const LayerNormGradArgs& a, std::int64_t r, T* gw, T* gb) {
    const std::int64_t n = a.x.shape[1];
    const T mean = a.mean.data ? data_as<T>(a.mean)[r] : 0, rstd = data_as<T>(a.rstd)[r];
    const T* x = data_as<T>(a.x) + r * n;
    const T* gy = data_as<T>(a.gy) + r * n;
    for (std::int64_t i = 0; i < n; ++i) {
        gw[i] += gy[i] * ((x[i] - mean) * rstd);
        gb[i] += gy[i];
    }
}

template <class T>
void input_gradient(const LayerNormGradArgs& a, std::int64_t r) {
    const std::int64_t n = a.x.shape[1];
    const Along<T> row{n};
    const Line w{a.w.data, sizeof(T), 0};
    const Line x = line_at<T>(a.x, r, n), gy = line_at<T>(a.gy, r, n), gx = line_at<T>(a.gx, r, n);
    const T mean = a.mean.data ? data_as<T>(a.mean)[r] : 0, rstd = data_as<T>(a.rstd)[r];
    const auto upstream = [&](std::int64_t i) {
        const Vec<T> g = row.get(gy, i, 0);
        return a.w.data ? g * row.get(w, i, 0) : g;
    };
    BlockedSum<Vec<T>> sum, along;
    for (std::int64_t i = 0; i < n; i += kLanes<T>) {
        const Vec<T> g = upstream(i);
        sum.add(g);
        along.add(g * ((row.get(x, i, 0) - mean) * rstd));
    }
    const T mean_along = finish_sum(row, along)[0] / static_cast<T>(n);
    const T mean_g = a.mean.data ? finish_sum(row, sum)[0] / static_cast<T>(n) : 0;
    for (std::int64_t i = 0; i < n; i += kLanes<T>) {
        const Vec<T> x_hat = (row.get(x, i, 0) - mean) * rstd;
        row.put(gx, i, (upstream(i) - mean_g - x_hat * mean_along) * rstd);
    }
}

template <class T>
void layer_norm_grad(const LayerNormGradArgs& a) {
    const std::int64_t rows = a.x.shape[0], n = a.x.shape[1], grain = rows_per_chunk(n);
    const std::int64_t chunks = ceil_div(rows, grain);
    const Workspace workspace(static_cast<std::size_t>(2 * chunks * n) * sizeof(T));
    T* partial = workspace.as<T>();
    parallel_ranges(rows, grain, [&](std::int64_t begin, std::int64_t end) {
        T* gw = partial + begin / grain * 2 * n;
        if (a.gw.data) std::memset(gw, 0, static_cast<std::size_t>(2 * n) * sizeof(T));
        for (std::int64_t r = begin; r < end; ++r) {
            input_gradient<T>(a, r);
            if (a.gw.data) add_weight_gradients<T>(a, r, gw, gw + n);
        }
    });
    if (!a.gw.data) return;
    for (std::int64_t i = 0; i < n; ++i) {
        double gw = 0, gb = 0;
        for (std::int64_t c = 0; c < chunks; ++c) {
            gw += partial[c * 2 * n + i];
            gb += partial[c * 2 * n + n + i];
        }
        data_as<T>(a.gw)[i] = static_cast<T>(gw);
        if (a.gb.data) data_as<T>(a.gb)[i] = static_cast<T>(gb);
    }
}

}  // namespace

void fill(NormKernels& table) {
    table.layer_norm[0] = layer_norm<float>;
    table.layer_norm[1] = layer_norm<double>;
    table.layer_norm_grad[0] = layer_norm_grad<float>;
    table.layer_norm_grad[1] = layer_norm_grad<double>;
    fill_batch_norm(table);
}

}  // namespace babygrad::BABYGRAD_TARGET
