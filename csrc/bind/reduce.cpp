// Reductions over any axes.
#include "bind/bind.h"

namespace babygrad::bind {
namespace {

// A result without the reduced axes, or with length 1 in their place, and its view with stride 0
// along them, beside x.
struct Reduced {
    Result y;
    View beside;
};

Reduced make_reduced(const View& x, DType dtype, unsigned axes, bool keepdims) {
    int perm[kMaxDims], kept_perm[kMaxDims], place[kMaxDims];
    std::int64_t shape[kMaxDims], strides[kMaxDims];
    const View* const views[] = {&x};
    keep_order(perm, views, 1);
    int ndim = 0;
    for (int i = 0; i < x.ndim; ++i) {
        const bool reduced = axes & 1U << i;
        place[i] = ndim;
        if (!reduced || keepdims) shape[ndim++] = reduced ? 1 : x.shape[i];
    }
    int n = 0;
    for (int i = 0; i < x.ndim; ++i)
        if (!(axes & 1U << perm[i]) || keepdims) kept_perm[n++] = place[perm[i]];
    dense_strides(strides, shape, ndim, itemsize(dtype), kept_perm);
    bool c_order = true;
    for (int i = 0; i < ndim; ++i) c_order = c_order && kept_perm[i] == i;
    Reduced result{Result(dtype, ndim, shape, c_order ? nullptr : strides), x};
    result.beside.data = result.y.view().data;
    result.beside.dtype = dtype;
    for (int i = 0; i < x.ndim; ++i)
        result.beside.strides[i] = axes & 1U << i ? 0 : result.y.view().strides[place[i]];
    return result;
}

bool parse(PyObject* const* args, View& x, unsigned& axes, bool& keepdims) {
    keepdims = false;
    return get_view(args[0], x) && get_axes(args[1], x.ndim, axes) &&
           (!args[2] || get_bool(args[2], keepdims)) && size_of(x) > 0;
}

DType result_dtype(Reduction op, DType dtype) {
    const bool adds = op == Reduction::sum || op == Reduction::prod;
    return adds && !is_floating(dtype) ? DType::i64 : dtype;
}

template <int op>
PyObject* reduction(PyObject* const* args) {
    View x;
    unsigned axes;
    bool keepdims;
    if (!parse(args, x, axes, keepdims)) return kNotCovered;
    const ReduceFn kernel = kernels().reduce.reduce[op][static_cast<int>(x.dtype)];
    if (!kernel) return kNotCovered;
    Reduced r =
        make_reduced(x, result_dtype(static_cast<Reduction>(op), x.dtype), axes, keepdims);
    {
        const WithoutGil nogil(0.25 * static_cast<double>(size_of(x)));
        kernel(x, r.beside, axes);
    }
    return r.y.take();
}

PyObject* variance(PyObject* const* args) {
    View x;
    unsigned axes;
    bool keepdims;
    double correction;
    if (!parse(args, x, axes, keepdims) || !is_floating(x.dtype) ||
        !get_number(args[3], correction))
        return kNotCovered;
    Reduced r = make_reduced(x, x.dtype, axes, keepdims);
    {
        const WithoutGil nogil(0.5 * static_cast<double>(size_of(x)));
        kernels().reduce.variance[static_cast<int>(x.dtype)](x, r.beside, correction);
    }
    return r.y.take();
}

PyObject* sum_of_squares(PyObject* const* args) {
    View x;
    if (!get_view(args[0], x) || !is_floating(x.dtype) || size_of(x) == 0) return kNotCovered;
    Reduced r = make_reduced(x, DType::f64, (1U << x.ndim) - 1, false);
    const int op = static_cast<int>(Reduction::sum_of_squares);
    {
        const WithoutGil nogil(0.25 * static_cast<double>(size_of(x)));
        kernels().reduce.reduce[op][static_cast<int>(x.dtype)](x, r.beside, ~0U);
    }
    return r.y.take();
}

// One axis, or all of them where x can be seen as one axis.
template <bool largest>
PyObject* arg_reduction(PyObject* const* args) {
    View x;
    unsigned axes;
    bool keepdims;
    if (!parse(args, x, axes, keepdims) || (args[1] && PyTuple_Check(args[1]))) return kNotCovered;
    const bool whole = !args[1] || args[1] == Py_None;
    if (whole && (keepdims || !is_contiguous(x))) return kNotCovered;
    View lines = x;
    if (whole) {
        lines.ndim = 1;
        lines.shape[0] = size_of(x);
        lines.strides[0] = itemsize(x.dtype);
    } else {
        int perm[kMaxDims], n = 0, axis = 0;
        for (int i = 0; i < x.ndim; ++i) axes & 1U << i ? axis = i : perm[n++] = i;
        perm[n] = axis;
        lines = permuted(x, perm);
    }
    Reduced r = make_reduced(x, DType::i64, axes, keepdims);
    View places = r.y.view();
    places.ndim = lines.ndim - 1;
    for (int i = 0, k = 0; i < x.ndim; ++i) {
        if (axes & 1U << i) continue;
        places.shape[k] = x.shape[i];
        places.strides[k++] = r.beside.strides[i];
    }
    const int dtype = static_cast<int>(x.dtype);
    {
        const WithoutGil nogil(static_cast<double>(size_of(x)));
        (largest ? kernels().reduce.argmax[dtype] : kernels().reduce.argmin[dtype])(lines, places);
    }
    return r.y.take();
}

}  // namespace

void register_reduce() {
    constexpr const char* parameters = "x axis= keepdims=";
    add_entry({"sum", parameters, reduction<static_cast<int>(Reduction::sum)>});
    add_entry({"prod", parameters, reduction<static_cast<int>(Reduction::prod)>});
    add_entry({"max", parameters, reduction<static_cast<int>(Reduction::max)>});
    add_entry({"min", parameters, reduction<static_cast<int>(Reduction::min)>});
    add_entry({"any", parameters, reduction<static_cast<int>(Reduction::any)>});
    add_entry({"all", parameters, reduction<static_cast<int>(Reduction::all)>});
    add_entry({"var", "x axis keepdims correction", variance});
    add_entry({"sum_of_squares", "x", sum_of_squares});
    add_entry({"argmax", parameters, arg_reduction<true>});
    add_entry({"argmin", parameters, arg_reduction<false>});
}

}  // namespace babygrad::bind
