// matmul and linear.
#include <utility>

#include "bind/bind.h"

namespace babygrad::bind {
namespace {

// Nanoseconds of a product, at a cautious 20 multiply-adds each.
double product_time(const View& y, std::int64_t inner) {
    return static_cast<double>(size_of(y)) * static_cast<double>(inner) / 20;
}

// A vector as a matrix of one row (before = true) or one column.
View as_matrix(const View& v, bool row) {
    if (v.ndim != 1) return v;
    View m = v;
    m.ndim = 2;
    m.shape[0] = row ? 1 : v.shape[0];
    m.shape[1] = row ? v.shape[0] : 1;
    m.strides[0] = row ? 0 : v.strides[0];
    m.strides[1] = row ? v.strides[0] : 0;
    return m;
}

// The leading axes of a stack of matrices.
View leading(const View& v) {
    View lead = v;
    lead.ndim -= 2;
    return lead;
}

// `v` with its leading axes broadcast to `shape`.
View broadcast_stack(const View& v, const std::int64_t* shape, int ndim) {
    View stack = broadcast(leading(v), shape, ndim);
    for (int i = 0; i < 2; ++i) {
        stack.shape[ndim + i] = v.shape[v.ndim - 2 + i];
        stack.strides[ndim + i] = v.strides[v.ndim - 2 + i];
    }
    stack.ndim = ndim + 2;
    return stack;
}

PyObject* matmul(PyObject* const* args) {
    View x, w;
    if (!get_view(args[0], x) || !get_view(args[1], w)) return kNotCovered;
    if (x.dtype != w.dtype || !is_floating(x.dtype) || x.ndim == 0 || w.ndim == 0)
        return kNotCovered;
    const View a = as_matrix(x, true), b = as_matrix(w, false);
    std::int64_t lead[kMaxDims];
    const int lead_ndim = broadcast_shape(lead, leading(a), leading(b));
    if (lead_ndim < 0 || lead_ndim > kMaxDims - 2 || dim(a, -1) != dim(b, -2)) return kNotCovered;
    const View left = broadcast_stack(a, lead, lead_ndim);
    const View right = broadcast_stack(b, lead, lead_ndim);
    std::int64_t shape[kMaxDims];
    std::copy_n(lead, lead_ndim, shape);
    int ndim = lead_ndim;
    if (x.ndim > 1) shape[ndim++] = dim(a, -2);
    if (w.ndim > 1) shape[ndim++] = dim(b, -1);
    Result y(x.dtype, ndim, shape);
    {
        const WithoutGil nogil(product_time(y.view(), dim(a, -1)));
        kernels().gemm.matmul(left, right, y.view());
    }
    return y.take();
}

// The loop of an activation by its name, null for None.
bool get_activation(PyObject* name, DType dtype, Loop& loop) {
    loop = nullptr;
    if (!name || name == Py_None) return true;
    if (!PyUnicode_Check(name)) return false;
    const std::pair<const char*, Unary> known[] = {
        {"relu", Unary::relu}, {"sigmoid", Unary::sigmoid}, {"tanh", Unary::tanh}};
    for (const auto& [text, operation] : known)
        if (PyUnicode_CompareWithASCIIString(name, text) == 0)
            loop = kernels().elementwise.unary[static_cast<int>(operation)][static_cast<int>(dtype)];
    return loop != nullptr;
}

PyObject* linear(PyObject* const* args) {
    View x, w, b;
    Loop activation;
    if (!get_view(args[0], x) || !get_view(args[1], w)) return kNotCovered;
    if (x.dtype != w.dtype || !is_floating(x.dtype)) return kNotCovered;
    if (x.ndim == 0 || w.ndim != 2 || dim(x, -1) != w.shape[0]) return kNotCovered;
    const bool has_bias = args[2] && args[2] != Py_None;
    if (has_bias && (!get_view(args[2], b) || b.dtype != x.dtype || b.ndim != 1 ||
                     b.shape[0] != w.shape[1]))
        return kNotCovered;
    if (!get_activation(args[3], x.dtype, activation)) return kNotCovered;
    std::int64_t shape[kMaxDims];
    std::copy_n(x.shape, x.ndim - 1, shape);
    shape[x.ndim - 1] = w.shape[1];
    Result y(x.dtype, x.ndim, shape);
    {
        const WithoutGil nogil(product_time(y.view(), w.shape[0]));
        kernels().gemm.linear(x, w, has_bias ? &b : nullptr, activation, y.view());
    }
    return y.take();
}

}  // namespace

void register_linalg() {
    add_entry({"matmul", "a b", matmul});
    add_entry({"linear", "x w b= activation=", linear});
}

}  // namespace babygrad::bind
