// Unary and binary operations: broadcasting, weak Python scalars, numpy's K order.
#include "bind/bind.h"
#include "loops.h"

namespace babygrad::bind {
namespace {

// A scalar operand, stored in the dtype of the array beside it.
struct Scalar {
    union {
        float f32;
        double f64;
    } value;
    View view;

    bool set(PyObject* object, DType dtype) {
        double number;
        if (!is_floating(dtype) || !get_number(object, number)) return false;
        if (dtype == DType::f32)
            value.f32 = static_cast<float>(number);
        else
            value.f64 = number;
        view.data = reinterpret_cast<char*>(&value);
        view.dtype = dtype;
        view.ndim = 0;
        return true;
    }
};

// The result of an elementwise operation over inputs that are broadcast to one shape already: dense,
// in numpy's K order.
Result result_like(DType dtype, const View* const* inputs, int count) {
    const View& first = *inputs[0];
    bool c_order = true;
    for (int k = 0; c_order && k < count; ++k) c_order = is_contiguous(*inputs[k]);
    if (c_order) return Result(dtype, first.ndim, first.shape);
    int perm[kMaxDims];
    std::int64_t strides[kMaxDims];
    keep_order(perm, inputs, count);
    dense_strides(strides, first.shape, first.ndim, itemsize(dtype), perm);
    return Result(dtype, first.ndim, first.shape, strides);
}

template <int op>
PyObject* unary(PyObject* const* args) {
    View x;
    if (!get_view(args[0], x) || !is_floating(x.dtype)) return kNotCovered;
    const View* const inputs[] = {&x};
    Result y = result_like(x.dtype, inputs, 1);
    const View* const views[] = {&y.view(), &x};
    const WithoutGil nogil(0.25 * static_cast<double>(size_of(x)));
    run_loop(kernels().elementwise.unary[op][static_cast<int>(x.dtype)], views, 2, kLightGrain);
    return y.take();
}

template <int op>
PyObject* binary(PyObject* const* args) {
    View a, b;
    Scalar scalar;
    const bool array_a = get_view(args[0], a), array_b = get_view(args[1], b);
    if (!array_a && !array_b) return kNotCovered;
    if (!array_a) {
        if (!scalar.set(args[0], b.dtype)) return kNotCovered;
        a = scalar.view;
    } else if (!array_b) {
        if (!scalar.set(args[1], a.dtype)) return kNotCovered;
        b = scalar.view;
    }
    if (a.dtype != b.dtype || !is_floating(a.dtype)) return kNotCovered;
    if (!same_shape(a, b)) {
        std::int64_t shape[kMaxDims];
        const int ndim = broadcast_shape(shape, a, b);
        if (ndim < 0) return kNotCovered;
        a = broadcast(a, shape, ndim);
        b = broadcast(b, shape, ndim);
    }
    const View* const inputs[] = {&a, &b};
    Result y = result_like(a.dtype, inputs, 2);
    const View* const views[] = {&y.view(), &a, &b};
    const WithoutGil nogil(0.25 * static_cast<double>(size_of(y.view())));
    run_loop(kernels().elementwise.binary[op][static_cast<int>(a.dtype)], views, 3, kLightGrain);
    return y.take();
}

}  // namespace

void register_elementwise() {
#define UNARY_ENTRY(name) add_entry({#name, "x", unary<static_cast<int>(Unary::name)>});
    BABYGRAD_UNARY(UNARY_ENTRY)
#define BINARY_ENTRY(name) add_entry({#name, "a b", binary<static_cast<int>(Binary::name)>});
    BABYGRAD_BINARY(BINARY_ENTRY)
}

}  // namespace babygrad::bind
