// Comparisons, logic, where, casts and copies: the elementwise members for all kernel dtypes.
#include <cstring>

#include "bind/operands.h"
#include "runtime/memory.h"

namespace babygrad::bind {
namespace {

int size_index(DType dtype) { return itemsize(dtype) == 1 ? 0 : itemsize(dtype) == 4 ? 1 : 2; }

template <int op>
PyObject* comparison(PyObject* const* args) {
    Operands in;
    if (!in.add_weak(args[0]) || !in.add_weak(args[1]) || !in.settle()) return kNotCovered;
    const Loop loop = kernels().select.comparison[op][static_cast<int>(in.dtype())];
    return in.run(loop, DType::b8, kLightGrain);
}

template <int op>
PyObject* logical(PyObject* const* args) {
    Operands in;
    if (!in.add(args[0]) || !in.add(args[1]) || !in.settle() || in.dtype() != DType::b8)
        return kNotCovered;
    return in.run(kernels().select.logical[op], DType::b8, kLightGrain);
}

PyObject* logical_not(PyObject* const* args) {
    Operands in;
    if (!in.add(args[0]) || !in.settle() || in.dtype() != DType::b8) return kNotCovered;
    return in.run(kernels().select.logical_not, DType::b8, kLightGrain);
}

template <int op>
PyObject* predicate(PyObject* const* args) {
    Operands in;
    if (!in.add(args[0]) || !in.settle() || !is_floating(in.dtype())) return kNotCovered;
    const Loop loop = kernels().select.predicate[op][static_cast<int>(in.dtype())];
    return in.run(loop, DType::b8, kLightGrain);
}

PyObject* where(PyObject* const* args) {
    Operands in;
    if (!in.add(args[0]) || in[0].dtype != DType::b8 || !in.add_weak(args[1]) ||
        !in.add_weak(args[2]) || !in.settle(1))
        return kNotCovered;
    return in.run(kernels().select.where[size_index(in.dtype())], in.dtype(), kLightGrain);
}

// "float32" and "float64" by name, type or dtype object; other targets are the fallback's.
bool get_float_dtype(PyObject* object, DType& dtype) {
    PyObject* descr = nullptr;
    if (!py::detail::npy_api::get().PyArray_DescrConverter_(object, &descr)) {
        PyErr_Clear();
        return false;
    }
    const auto* proxy = reinterpret_cast<const py::detail::PyArrayDescr_Proxy*>(descr);
    const bool native = proxy->byteorder != '>';
    const int type_num = proxy->type_num;
    Py_DECREF(descr);
    using Api = py::detail::npy_api;
    dtype = type_num == Api::NPY_FLOAT_ ? DType::f32 : DType::f64;
    return native && (type_num == Api::NPY_FLOAT_ || type_num == Api::NPY_DOUBLE_);
}

PyObject* astype(PyObject* const* args) {
    Operands in;
    DType dtype;
    if (!in.add(args[0]) || !in.settle() || !get_float_dtype(args[1], dtype)) return kNotCovered;
    const Loop loop =
        kernels().select.cast[static_cast<int>(dtype)][static_cast<int>(in.dtype())];
    return in.run(loop, dtype, kLightGrain);
}

// x's elements in C order, in an array of `shape`, which has as many.
PyObject* c_order_copy(const View& x, int ndim, const std::int64_t* shape) {
    Result y(x.dtype, ndim, shape);
    View to = x;
    to.data = y.view().data;
    dense_strides(to.strides, x.shape, x.ndim, itemsize(x.dtype));
    {
        const WithoutGil nogil(0.25 * static_cast<double>(size_of(x)));
        const View* const views[] = {&to, &x};
        run_loop(kernels().select.copy[size_index(x.dtype)], views, 2, kLightGrain);
    }
    return y.take();
}

PyObject* copy(PyObject* const* args) {
    View x;
    if (!get_view(args[0], x)) return kNotCovered;
    return c_order_copy(x, x.ndim, x.shape);
}

// A tuple of sizes.
bool get_shape(PyObject* object, int& ndim, std::int64_t* shape) {
    if (!PyTuple_CheckExact(object) || PyTuple_GET_SIZE(object) > kMaxDims) return false;
    ndim = static_cast<int>(PyTuple_GET_SIZE(object));
    for (int i = 0; i < ndim; ++i)
        if (!get_int(PyTuple_GET_ITEM(object, i), shape[i]) || shape[i] < 0) return false;
    return true;
}

// Only what has to be copied, in half of numpy's time; the views are numpy's.
PyObject* reshape(PyObject* const* args) {
    View x;
    int ndim;
    std::int64_t shape[kMaxDims];
    if (!get_view(args[0], x) || is_contiguous(x) || !get_shape(args[1], ndim, shape) ||
        !needs_copy(x, shape, ndim))
        return kNotCovered;
    return c_order_copy(x, ndim, shape);
}

// From the cache, whose pages have been touched before: half the time of fresh ones from calloc.
PyObject* zeros(PyObject* const* args) {
    int ndim;
    std::int64_t shape[kMaxDims];
    DType dtype;
    if (!get_shape(args[0], ndim, shape) || !get_float_dtype(args[1], dtype)) return kNotCovered;
    Result y(dtype, ndim, shape);
    y.fill_zero();
    return y.take();
}

PyObject* ascontiguousarray(PyObject* const* args) {
    View x;
    if (!get_view(args[0], x)) return kNotCovered;
    if (is_contiguous(x)) return Py_NewRef(args[0]);
    count_layout_copy();
    return c_order_copy(x, x.ndim, x.shape);
}

}  // namespace

void register_select() {
#define BABYGRAD_COMPARISON_ENTRY(name) \
    add_entry({#name, "a b", comparison<static_cast<int>(Comparison::name)>});
    BABYGRAD_COMPARISON(BABYGRAD_COMPARISON_ENTRY)
#define BABYGRAD_LOGICAL_ENTRY(name) \
    add_entry({#name, "a b", logical<static_cast<int>(Logical::name)>});
    BABYGRAD_LOGICAL(BABYGRAD_LOGICAL_ENTRY)
#define BABYGRAD_PREDICATE_ENTRY(name) \
    add_entry({#name, "x", predicate<static_cast<int>(Predicate::name)>});
    BABYGRAD_PREDICATE(BABYGRAD_PREDICATE_ENTRY)
    add_entry({"logical_not", "x", logical_not});
    add_entry({"where", "cond a b", where});
    add_entry({"astype", "x dtype", astype});
    add_entry({"copy", "x", copy});
    add_entry({"reshape", "x shape", reshape});
    add_entry({"zeros", "shape dtype", zeros});
    add_entry({"ascontiguousarray", "x", ascontiguousarray});
}

}  // namespace babygrad::bind
