// Products of stacks of matrices: one GEMM where the stack can be read as one matrix, else one per
// matrix, several at a time.
//
// Policy: gemm_core.h; a product with a single row or column is a matrix-vector product.
#include "kernels/gemm/gemm.h"

#include "kernels/gemm/gemm_core.h"
#include "runtime/memory.h"
#include "runtime/threads.h"

namespace babygrad::BABYGRAD_TARGET {
namespace {

// Matrices with at least this many multiply-adds are split over the threads one by one; smaller
// ones are shared out in groups that come to at least kGroupWork.
constexpr double kLargeWork = 8e6;
constexpr double kGroupWork = 256e3;

template <class T>
std::int64_t element_stride(const View& v, int axis) {
    return stride(v, axis) / static_cast<std::int64_t>(sizeof(T));
}

// The axes of `v` up to and including `last` step as one axis.
bool collapses(const View& v, int last) {
    std::int64_t expected = 0;
    bool known = false;
    for (int i = last; i >= 0; --i) {
        if (v.shape[i] == 1) continue;
        if (known && v.strides[i] != expected) return false;
        expected = v.strides[i] * v.shape[i];
        known = true;
    }
    return true;
}

// The step of the collapsed axis: that of its innermost part.
std::int64_t collapsed_stride(const View& v, int last) {
    for (int i = last; i >= 0; --i)
        if (v.shape[i] != 1) return v.strides[i];
    return v.strides[last];
}

template <class T>
void product(const Gemm<T>& g, bool parallel) {
    if (g.n == 1 && g.c_row == 1)
        gemv(Gemv<T>{g.m, g.k, g.a, g.a_row, g.a_column, g.b, g.b_row, g.c, g.bias, 0,
                     g.activation});
    else if (g.m == 1)
        gemv(Gemv<T>{g.n, g.k, g.b, g.b_column, g.b_row, g.a, g.a_column, g.c, g.bias, 1,
                     g.activation});
    else if (parallel)
        gemm(g);
    else
        gemm_serial(g);
}

// Element offsets of the matrix at `index` of the leading axes.
std::int64_t offset(const View& v, std::int64_t index) {
    std::int64_t bytes = 0;
    for (int axis = v.ndim - 3; axis > 0; --axis) {
        bytes += index % v.shape[axis] * v.strides[axis];
        index /= v.shape[axis];
    }
    return bytes + index * v.strides[0];
}

template <class T>
void matmul_as(const View& a, const View& b, const View& y) {
    const int last = a.ndim - 2;
    Gemm<T> g{dim(a, -2), dim(b, -1), dim(a, -1), data_as<T>(a), element_stride<T>(a, -2),
              element_stride<T>(a, -1), data_as<T>(b), element_stride<T>(b, -2),
              element_stride<T>(b, -1), data_as<T>(y), dim(b, -1)};
    std::int64_t matrices = 1;
    bool shared_right = true;
    for (int i = 0; i < last; ++i) {
        matrices *= a.shape[i];
        shared_right &= b.shape[i] == 1 || b.strides[i] == 0;
    }
    if (matrices == 0 || g.m == 0 || g.n == 0) return;
    if (shared_right && collapses(a, last)) {
        g.m *= matrices;
        g.a_row = collapsed_stride(a, last) / static_cast<std::int64_t>(sizeof(T));
        return product(g, true);
    }
    const double work =
        static_cast<double>(g.m) * static_cast<double>(g.n) * static_cast<double>(g.k);
    const auto one = [&](std::int64_t i, bool parallel) {
        Gemm<T> part = g;
        part.a = reinterpret_cast<const T*>(a.data + offset(a, i));
        part.b = reinterpret_cast<const T*>(b.data + offset(b, i));
        part.c += i * g.m * g.n;
        product(part, parallel);
    };
    if (work >= kLargeWork) {
        for (std::int64_t i = 0; i < matrices; ++i) one(i, true);
        return;
    }
    parallel_ranges(matrices, 1 + static_cast<std::int64_t>(kGroupWork / (work + 1)),
                    [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) one(i, false);
    });
}

template <class T>
void linear_as(const View& x, const View& w, const View* b, Loop activation, const View& y) {
    const std::int64_t n = w.shape[1], k = w.shape[0];
    Workspace bias_space(b ? static_cast<std::size_t>(n) * sizeof(T) : 0);
    const T* bias = b ? data_as<T>(*b) : nullptr;
    if (b && b->strides[0] != static_cast<std::int64_t>(sizeof(T))) {
        for (std::int64_t j = 0; j < n; ++j)
            bias_space.as<T>()[j] = *reinterpret_cast<const T*>(b->data + j * b->strides[0]);
        bias = bias_space.as<T>();
    }
    const auto rows = [&](const char* data, std::int64_t m, std::int64_t row_bytes, T* out) {
        product(Gemm<T>{m, n, k, reinterpret_cast<const T*>(data),
                        row_bytes / static_cast<std::int64_t>(sizeof(T)), element_stride<T>(x, -1),
                        data_as<T>(w), element_stride<T>(w, 0), element_stride<T>(w, 1), out, n,
                        bias, false, activation},
                true);
    };
    const int last = x.ndim - 2;
    std::int64_t m = 1;
    for (int i = 0; i <= last; ++i) m *= x.shape[i];
    if (m == 0 || n == 0) return;
    if (last < 0) return rows(x.data, 1, 0, data_as<T>(y));
    if (collapses(x, last)) return rows(x.data, m, collapsed_stride(x, last), data_as<T>(y));
    const std::int64_t matrix = dim(x, -2);
    for (std::int64_t i = 0; i < m / matrix; ++i)
        rows(x.data + offset(x, i), matrix, stride(x, -2), data_as<T>(y) + i * matrix * n);
}

void matmul(const View& a, const View& b, const View& y) {
    if (a.dtype == DType::f32)
        matmul_as<float>(a, b, y);
    else
        matmul_as<double>(a, b, y);
}

void linear(const View& x, const View& w, const View* b, Loop activation, const View& y) {
    if (x.dtype == DType::f32)
        linear_as<float>(x, w, b, activation, y);
    else
        linear_as<double>(x, w, b, activation, y);
}

}  // namespace

void fill(GemmKernels& table) { table = {matmul, linear}; }

}  // namespace babygrad::BABYGRAD_TARGET
