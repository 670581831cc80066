// Softmax, its logarithm, logsumexp and cross-entropy.
#include "bind/bind.h"

namespace babygrad::bind {
namespace {

// x with `axis` last.
View axis_last(const View& x, int axis) {
    int perm[kMaxDims], n = 0;
    for (int i = 0; i < x.ndim; ++i)
        if (i != axis) perm[n++] = i;
    perm[n] = axis;
    return permuted(x, perm);
}

bool get_operand(PyObject* object, View& x) {
    return get_view(object, x) && is_floating(x.dtype) && size_of(x) > 0;
}

double cost(const View& x) { return static_cast<double>(size_of(x)); }

using Forward = void (*)(const View&, const View&);
using Backward = void (*)(const View&, const View&, const View&);

template <Forward (SoftmaxKernels::*kernel)[2]>
PyObject* forward(PyObject* const* args) {
    View x;
    int axis;
    if (!get_operand(args[0], x) || !get_axis(args[1], x.ndim, axis)) return kNotCovered;
    Result y = in_order_of(x, x.dtype, x.shape);
    {
        const WithoutGil nogil(cost(x));
        (kernels().softmax.*kernel)[static_cast<int>(x.dtype)](axis_last(x, axis),
                                                               axis_last(y.view(), axis));
    }
    return y.take();
}

template <Backward (SoftmaxKernels::*kernel)[2]>
PyObject* backward(PyObject* const* args) {
    View gy, y;
    int axis;
    if (!get_operand(args[0], gy) || !get_operand(args[1], y) || !same_shape(gy, y) ||
        gy.dtype != y.dtype || !get_axis(args[2], y.ndim, axis))
        return kNotCovered;
    Result gx = in_order_of(y, y.dtype, y.shape);
    {
        const WithoutGil nogil(cost(y));
        (kernels().softmax.*kernel)[static_cast<int>(y.dtype)](
            axis_last(gy, axis), axis_last(y, axis), axis_last(gx.view(), axis));
    }
    return gx.take();
}

PyObject* logsumexp(PyObject* const* args) {
    View x;
    int axis;
    bool keepdims;
    if (!get_operand(args[0], x) || !get_axis(args[1], x.ndim, axis) ||
        !get_bool(args[2], keepdims))
        return kNotCovered;
    std::int64_t shape[kMaxDims];
    int ndim = 0;
    for (int i = 0; i < x.ndim; ++i)
        if (i != axis || keepdims) shape[ndim++] = i == axis ? 1 : x.shape[i];
    Result lse(x.dtype, ndim, shape);
    View out = lse.view();
    if (keepdims) {
        out = axis_last(out, axis);
        --out.ndim;
    }
    {
        const WithoutGil nogil(cost(x));
        kernels().softmax.logsumexp[static_cast<int>(x.dtype)](axis_last(x, axis), out);
    }
    return lse.take();
}

// The targets of N rows of C classes: in [0, C), or -1.
bool get_targets(const char* op, PyObject* object, const View& x, View& target) {
    if (!get_view(object, target) || target.dtype != DType::i64 || target.ndim != 1 ||
        target.shape[0] != x.shape[0])
        return false;
    for (std::int64_t i = 0; i < target.shape[0]; ++i) {
        const auto t = *reinterpret_cast<const std::int64_t*>(target.data + i * target.strides[0]);
        if (t < -1 || t >= x.shape[1])
            index_error("%s: target %lld at position %lld is not in [0, %lld) or -1", op,
                        static_cast<long long>(t), static_cast<long long>(i),
                        static_cast<long long>(x.shape[1]));
    }
    return true;
}

PyObject* cross_entropy(PyObject* const* args) {
    View x, target;
    if (!get_operand(args[0], x) || x.ndim != 2 ||
        !get_targets("cross_entropy", args[1], x, target))
        return kNotCovered;
    Result loss(x.dtype, {x.shape[0]}), lse(x.dtype, {x.shape[0]});
    {
        const WithoutGil nogil(cost(x));
        kernels().softmax.cross_entropy[static_cast<int>(x.dtype)](x, target, loss.view(),
                                                                   lse.view());
    }
    return make_tuple({&loss, &lse});
}

PyObject* cross_entropy_grad(PyObject* const* args) {
    View gy, x, lse, target;
    if (!get_operand(args[0], gy) || !get_operand(args[1], x) || !get_operand(args[2], lse) ||
        x.ndim != 2 || gy.ndim != 1 || !same_shape(gy, lse) || gy.shape[0] != x.shape[0] ||
        gy.dtype != x.dtype || lse.dtype != x.dtype ||
        !get_targets("cross_entropy_grad", args[3], x, target))
        return kNotCovered;
    Result gx(x.dtype, 2, x.shape);
    {
        const WithoutGil nogil(cost(x));
        kernels().softmax.cross_entropy_grad[static_cast<int>(x.dtype)](gy, x, lse, target,
                                                                        gx.view());
    }
    return gx.take();
}

}  // namespace

void register_softmax() {
    add_entry({"softmax", "x axis", forward<&SoftmaxKernels::softmax>});
    add_entry({"log_softmax", "x axis", forward<&SoftmaxKernels::log_softmax>});
    add_entry({"softmax_grad", "gy y axis", backward<&SoftmaxKernels::softmax_grad>});
    add_entry({"log_softmax_grad", "gy y axis", backward<&SoftmaxKernels::log_softmax_grad>});
    add_entry({"logsumexp", "x axis keepdims", logsumexp});
    add_entry({"cross_entropy", "x target", cross_entropy});
    add_entry({"cross_entropy_grad", "gy x lse target", cross_entropy_grad});
}

}  // namespace babygrad::bind
