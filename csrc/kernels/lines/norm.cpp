// Layer and RMS normalization: each row is read from the cache after the first pass; variances
// take two passes; sums run in blocks. The gradients of w and b are added up per chunk of rows and
// then in float64 over the chunks. Cost: memory bandwidth.
#include "kernels/lines/norm.h"

#include <cmath>
#include <cstring>

#include "kernels/lines/lines.h"

namespace babygrad::BABYGRAD_TARGET {

void fill_batch_norm(NormKernels& table);  // the rows in batch_norm.cpp

namespace {

template <class T>
Line line_at(const View& view, std::int64_t row, std::int64_t n) {
    return {view.data + row * n * static_cast<std::int64_t>(sizeof(T)), sizeof(T), 0};
}

std::int64_t rows_per_chunk(std::int64_t n) { return n < 16384 ? 16384 / n : 1; }

// A row whose squares, or whose sum, leave the range of T: in float64, relative to a power of two.
template <class T>
__attribute__((noinline, cold)) void normalize_far_row(const LayerNormArgs& a, std::int64_t r,
                                                       bool small) {
    const std::int64_t n = a.x.shape[1];
    const T *x = data_as<T>(a.x) + r * n, *w = data_as<T>(a.w), *b = data_as<T>(a.b);
    T* y = data_as<T>(a.y) + r * n;
    const double size = static_cast<double>(n);
    const double scale = small ? NormRange<T>::up : NormRange<T>::down;
    const auto scaled = [=](std::int64_t i) { return static_cast<double>(x[i]) * scale; };
    double mean = 0, squares = 0;
    if (a.mean.data) {
        for (std::int64_t i = 0; i < n; ++i) mean += scaled(i);
        mean /= size;
        data_as<T>(a.mean)[r] = static_cast<T>(mean / scale);
    }
    for (std::int64_t i = 0; i < n; ++i) squares += (scaled(i) - mean) * (scaled(i) - mean);
    const double rstd = 1 / std::sqrt(squares / size + a.eps * scale * scale);
    data_as<T>(a.rstd)[r] = static_cast<T>(rstd * scale);
    for (std::int64_t i = 0; i < n; ++i) {
        const double v = (scaled(i) - mean) * rstd * (w ? static_cast<double>(w[i]) : 1);
        y[i] = static_cast<T>(v + (b ? static_cast<double>(b[i]) : 0));
    }
}

template <class T>
void normalize_row(const LayerNormArgs& a, std::int64_t r) {
    const std::int64_t n = a.x.shape[1];
    const Along<T> row{n};
    const Line x = line_at<T>(a.x, r, n), y = line_at<T>(a.y, r, n);
    const Line w{a.w.data, sizeof(T), 0}, b{a.b.data, sizeof(T), 0};
    const T size = static_cast<T>(n);
    Vec<T> mean{};
    if (a.mean.data) {
        mean = joined_sum_of(row, [&](const auto& part, std::int64_t i) {
            return part.get(x, i, 0);
        }) / size;
        data_as<T>(a.mean)[r] = mean[0];
    }
    const Vec<T> squares = joined_sum_of(row, [&](const auto& part, std::int64_t i) {
        const Vec<T> d = part.mask(part.get(x, i, 0) - mean, i, 0);
        return d * d;
    });
    const T variance = squares[0] / size + static_cast<T>(a.eps);
    if (!is_plain(variance))
        return normalize_far_row<T>(a, r, variance < static_cast<T>(NormRange<T>::small));
    const T rstd = 1 / std::sqrt(variance);
    data_as<T>(a.rstd)[r] = rstd;
    const bool scales = w.data, shifts = b.data;
    for_vectors(row, [&](const auto& part, std::int64_t i) {
        Vec<T> v = (part.get(x, i, 0) - mean) * rstd;
        if (scales) v = v * part.get(w, i, 0);
        if (shifts) v = v + part.get(b, i, 0);
        part.put(y, i, v);
    });
}

template <class T>
void layer_norm(const LayerNormArgs& a) {
    parallel_ranges(a.x.shape[0], rows_per_chunk(a.x.shape[1]),
                    [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t r = begin; r < end; ++r) normalize_row<T>(a, r);
    });
}

// Adds what `rows` rows give to gw and gb, which stand beside each other in `sums`.
template <int rows, class T>
void add_weight_gradients(const LayerNormGradArgs& a, std::int64_t r, T* sums) {
    const std::int64_t n = a.x.shape[1];
    const Along<T> row{n};
    const Line gw{reinterpret_cast<char*>(sums), sizeof(T), 0};
    const Line gb{reinterpret_cast<char*>(sums + n), sizeof(T), 0};
    Line x[rows], gy[rows];
    Vec<T> mean[rows], rstd[rows];
    for (int k = 0; k < rows; ++k) {
        x[k] = line_at<T>(a.x, r + k, n);
        gy[k] = line_at<T>(a.gy, r + k, n);
        mean[k] = splat(a.mean.data ? data_as<T>(a.mean)[r + k] : 0);
        rstd[k] = splat(data_as<T>(a.rstd)[r + k]);
    }
    for_vectors(row, [&](const auto& part, std::int64_t i) {
        Vec<T> w = part.get(gw, i, 0), b = part.get(gb, i, 0);
        for (int k = 0; k < rows; ++k) {
            const Vec<T> g = part.get(gy[k], i, 0);
            w = w + g * ((part.get(x[k], i, 0) - mean[k]) * rstd[k]);
            b = b + g;
        }
        part.put(gw, i, w);
        part.put(gb, i, b);
    });
}

// Two sums that are taken together.
template <class V>
struct Two {
    V a, b;
    friend Two operator+(Two x, Two y) { return {x.a + y.a, x.b + y.b}; }
};

template <class T>
void input_gradient(const LayerNormGradArgs& a, std::int64_t r) {
    const std::int64_t n = a.x.shape[1];
    const Along<T> row{n};
    const Line w{a.w.data, sizeof(T), 0};
    const Line x = line_at<T>(a.x, r, n), gy = line_at<T>(a.gy, r, n), gx = line_at<T>(a.gx, r, n);
    const T mean = a.mean.data ? data_as<T>(a.mean)[r] : 0, rstd = data_as<T>(a.rstd)[r];
    const bool scales = w.data;
    const auto upstream = [&](const auto& part, std::int64_t i) {
        const Vec<T> g = part.get(gy, i, 0);
        return scales ? g * part.get(w, i, 0) : g;
    };
    const auto normalized = [&](const auto& part, std::int64_t i) {
        return (part.get(x, i, 0) - mean) * rstd;
    };
    const auto sums = sum_of(row, [&](const auto& part, std::int64_t i) {
        const Vec<T> g = upstream(part, i);
        return Two<Vec<T>>{g, g * normalized(part, i)};
    });
    const T mean_g = a.mean.data ? join_sum(row, sums.a)[0] / static_cast<T>(n) : 0;
    const T mean_along = join_sum(row, sums.b)[0] / static_cast<T>(n);
    for_vectors(row, [&](const auto& part, std::int64_t i) {
        const Vec<T> g = upstream(part, i) - mean_g - normalized(part, i) * mean_along;
        part.put(gx, i, g * rstd);
    });
}

// All gradients of `rows` rows.
template <int rows, class T>
void add_rows(const LayerNormGradArgs& a, std::int64_t r, T* sums) {
    for (int k = 0; k < rows; ++k) input_gradient<T>(a, r + k);
    if (a.gw.data) add_weight_gradients<rows, T>(a, r, sums);
}

// The sums over the chunks, whose parts stand `step` apart; by blocks of columns, so that memory is
// read in runs.
template <class T>
void join_chunks(const T* partial, std::int64_t chunks, std::int64_t step, T* sums,
                 std::int64_t n) {
    constexpr std::int64_t width = 64;
    for (std::int64_t first = 0; first < n; first += width) {
        const std::int64_t columns = n - first < width ? n - first : width;
        double total[width] = {};
        for (std::int64_t c = 0; c < chunks; ++c)
            for (std::int64_t i = 0; i < columns; ++i) total[i] += partial[c * step + first + i];
        for (std::int64_t i = 0; i < columns; ++i) sums[first + i] = static_cast<T>(total[i]);
    }
}

template <class T>
void layer_norm_grad(const LayerNormGradArgs& a) {
    const std::int64_t rows = a.x.shape[0], n = a.x.shape[1], grain = rows_per_chunk(n);
    const std::int64_t chunks = ceil_div(rows, grain);
    const Workspace workspace(static_cast<std::size_t>(2 * chunks * n) * sizeof(T));
    T* partial = workspace.as<T>();
    parallel_ranges(rows, grain, [&](std::int64_t begin, std::int64_t end) {
        T* sums = partial + begin / grain * 2 * n;
        if (a.gw.data) std::memset(sums, 0, static_cast<std::size_t>(2 * n) * sizeof(T));
        std::int64_t r = begin;
        for (; r + 4 <= end; r += 4) add_rows<4>(a, r, sums);
        for (; r < end; ++r) add_rows<1>(a, r, sums);
    });
    if (a.gw.data) join_chunks(partial, chunks, 2 * n, data_as<T>(a.gw), n);
    if (a.gb.data) join_chunks(partial + n, chunks, 2 * n, data_as<T>(a.gb), n);
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
