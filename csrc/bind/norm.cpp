// Layer, RMS and batch normalization.
#include <algorithm>
#include <optional>

#include "bind/bind.h"
#include "runtime/memory.h"

namespace babygrad::bind {
namespace {

View absent() {
    View view;
    view.data = nullptr;
    view.ndim = 0;
    return view;
}

// A vector of n in x's dtype, contiguous, or None.
bool get_vector(PyObject* object, const View& x, std::int64_t n, View& v) {
    v = absent();
    if (object == Py_None) return true;
    return get_view(object, v) && v.dtype == x.dtype && v.ndim == 1 && v.shape[0] == n &&
           is_contiguous(v);
}

bool get_operand(PyObject* object, View& x) {
    return get_view(object, x) && is_floating(x.dtype) && x.ndim > 0 && size_of(x) > 0;
}

double cost(const View& x) { return static_cast<double>(size_of(x)); }

// A C-contiguous array of x's last axis and all others as rows.
View as_rows(const View& x) {
    View rows = x;
    const std::int64_t n = dim(x, -1);
    rows.ndim = 2;
    rows.shape[0] = size_of(x) / n;
    rows.shape[1] = n;
    return rows;
}

// (..., 1): one value per row.
Result row_result(const View& x) {
    View shape = x;
    shape.shape[x.ndim - 1] = 1;
    return Result(x.dtype, x.ndim, shape.shape);
}

bool get_row_values(PyObject* object, const View& x, View& v) {
    return get_view(object, v) && v.dtype == x.dtype && is_contiguous(v) && v.ndim == x.ndim &&
           std::equal(x.shape, x.shape + x.ndim - 1, v.shape) && dim(v, -1) == 1;
}

template <bool rms>
PyObject* layer_norm(PyObject* const* args) {
    LayerNormArgs a;
    constexpr int eps = rms ? 2 : 3;
    View x;
    if (!get_operand(args[0], x) || !is_contiguous(x) ||
        !get_vector(args[1], x, dim(x, -1), a.w) || !get_number(args[eps], a.eps))
        return kNotCovered;
    a.b = absent();
    if (!rms && !get_vector(args[2], x, dim(x, -1), a.b)) return kNotCovered;
    Result y(x.dtype, x.ndim, x.shape), rstd = row_result(x);
    std::optional<Result> mean;
    if (!rms) mean.emplace(row_result(x));
    a.x = as_rows(x);
    a.y = as_rows(y.view());
    a.mean = rms ? absent() : mean->view();
    a.rstd = rstd.view();
    {
        const WithoutGil nogil(cost(x));
        kernels().norm.layer_norm[static_cast<int>(x.dtype)](a);
    }
    if (rms) return make_tuple({&y, &rstd});
    return make_tuple({&y, &*mean, &rstd});
}

template <bool rms>
PyObject* layer_norm_grad(PyObject* const* args) {
    LayerNormGradArgs a;
    View gy, x;
    if (!get_operand(args[0], gy) || !get_operand(args[1], x) || !same_shape(gy, x) ||
        gy.dtype != x.dtype || !is_contiguous(gy) || !is_contiguous(x) ||
        !get_vector(args[2], x, dim(x, -1), a.w))
        return kNotCovered;
    a.mean = absent();
    if (!rms && !get_row_values(args[3], x, a.mean)) return kNotCovered;
    if (!get_row_values(args[rms ? 3 : 4], x, a.rstd)) return kNotCovered;
    Result gx(x.dtype, x.ndim, x.shape);
    std::optional<Result> gw, gb;
    if (a.w.data) {
        gw.emplace(x.dtype, 1, a.w.shape);
        if (!rms) gb.emplace(x.dtype, 1, a.w.shape);
    }
    a.gy = as_rows(gy);
    a.x = as_rows(x);
    a.gx = as_rows(gx.view());
    a.gw = gw ? gw->view() : absent();
    a.gb = gb ? gb->view() : absent();
    {
        const WithoutGil nogil(2 * cost(x));
        kernels().norm.layer_norm_grad[static_cast<int>(x.dtype)](a);
    }
    Result *pw = gw ? &*gw : nullptr, *pb = gb ? &*gb : nullptr;
    if (rms) return make_tuple({&gx, pw});
    return make_tuple({&gx, pw, pb});
}

// A dense x as (M, C, L): the axes outside the channels' in memory, and those inside.
bool as_channels(const View& x, int axis, View& out) {
    int perm[kMaxDims];
    const View* const views[] = {&x};
    keep_order(perm, views, 1);
    const std::int64_t item = itemsize(x.dtype);
    out.data = x.data;
    out.dtype = x.dtype;
    out.ndim = 3;
    std::fill_n(out.shape, 3, 1);
    std::int64_t expected = item;
    bool inside = true;
    for (int i = x.ndim - 1; i >= 0; --i) {
        const int k = perm[i];
        const bool channels = k == axis;
        if (x.shape[k] != 1 && x.strides[k] != expected) return false;
        out.shape[channels ? 1 : inside ? 2 : 0] *= x.shape[k];
        if (channels) inside = false;
        expected *= x.shape[k];
    }
    const std::int64_t c = out.shape[1], l = out.shape[2];
    out.strides[0] = c * l * item;
    out.strides[1] = l * item;
    out.strides[2] = item;
    return true;
}

Result with_strides_of(const View& x) { return Result(x.dtype, x.ndim, x.shape, x.strides); }

PyObject* batch_norm(PyObject* const* args) {
    BatchNormArgs a;
    View x;
    int axis;
    if (!get_operand(args[0], x) || !get_axis(args[4], x.ndim, axis) || !as_channels(x, axis, a.x))
        return kNotCovered;
    const std::int64_t c = x.shape[axis];
    if (!get_vector(args[1], x, c, a.w) || !get_vector(args[2], x, c, a.b) ||
        !get_number(args[3], a.eps))
        return kNotCovered;
    Result y = with_strides_of(x), mean(x.dtype, {c}), var(x.dtype, {c}), rstd(x.dtype, {c});
    a.y = a.x;
    a.y.data = y.view().data;
    a.mean = mean.view();
    a.var = var.view();
    a.rstd = rstd.view();
    {
        const WithoutGil nogil(cost(x));
        kernels().norm.batch_norm[static_cast<int>(x.dtype)](a);
    }
    return make_tuple({&y, &mean, &var, &rstd});
}

PyObject* channel_affine(PyObject* const* args) {
    ChannelAffineArgs a;
    View x;
    int axis;
    if (!get_operand(args[0], x) || !get_axis(args[4], x.ndim, axis) || !as_channels(x, axis, a.x))
        return kNotCovered;
    const std::int64_t c = x.shape[axis];
    if (!get_vector(args[1], x, c, a.mean) || !get_vector(args[2], x, c, a.scale) ||
        !get_vector(args[3], x, c, a.bias) || !a.mean.data || !a.scale.data)
        return kNotCovered;
    Result y = with_strides_of(x);
    std::optional<Result> zeros;
    if (!a.bias.data) {
        zeros.emplace(Result(x.dtype, {c}));
        zeros->fill_zero();
        a.bias = zeros->view();
    }
    a.y = a.x;
    a.y.data = y.view().data;
    {
        const WithoutGil nogil(cost(x));
        kernels().norm.channel_affine[static_cast<int>(x.dtype)](a);
    }
    return y.take();
}

// `gy` in x's memory layout: itself, or a copy.
Result in_layout_of(const View& x, const View& gy) {
    Result copy = with_strides_of(x);
    count_layout_copy();
    const View* const views[] = {&copy.view(), &gy};
    run_loop(kernels().select.copy[x.dtype == DType::f32 ? 1 : 2], views, 2, kLightGrain);
    return copy;
}

PyObject* batch_norm_grad(PyObject* const* args) {
    BatchNormGradArgs a;
    View gy, x;
    int axis;
    if (!get_operand(args[0], gy) || !get_operand(args[1], x) || !same_shape(gy, x) ||
        gy.dtype != x.dtype || !get_axis(args[5], x.ndim, axis) || !as_channels(x, axis, a.x))
        return kNotCovered;
    const std::int64_t c = x.shape[axis];
    if (!get_vector(args[2], x, c, a.w) || !get_vector(args[3], x, c, a.mean) ||
        !get_vector(args[4], x, c, a.rstd) || !a.mean.data || !a.rstd.data)
        return kNotCovered;
    Result gx = with_strides_of(x);
    std::optional<Result> gw, gb, copy;
    if (a.w.data) {
        gw.emplace(x.dtype, 1, a.w.shape);
        gb.emplace(x.dtype, 1, a.w.shape);
    }
    a.gy = a.gx = a.x;
    if (std::equal(x.strides, x.strides + x.ndim, gy.strides)) {
        a.gy.data = gy.data;
    } else {
        copy.emplace(in_layout_of(x, gy));
        a.gy.data = copy->view().data;
    }
    a.gx.data = gx.view().data;
    a.gw = gw ? gw->view() : absent();
    a.gb = gb ? gb->view() : absent();
    {
        const WithoutGil nogil(2 * cost(x));
        kernels().norm.batch_norm_grad[static_cast<int>(x.dtype)](a);
    }
    return make_tuple({&gx, gw ? &*gw : nullptr, gb ? &*gb : nullptr});
}

}  // namespace

void register_norm() {
    add_entry({"layer_norm", "x w b eps", layer_norm<false>});
    add_entry({"layer_norm_grad", "gy x w mean rstd", layer_norm_grad<false>});
    add_entry({"rms_norm", "x w eps", layer_norm<true>});
    add_entry({"rms_norm_grad", "gy x w rstd", layer_norm_grad<true>});
    add_entry({"batch_norm", "x w b eps axis", batch_norm});
    add_entry({"batch_norm_grad", "gy x w mean rstd axis", batch_norm_grad});
    add_entry({"channel_affine", "x mean scale bias axis", channel_affine});
}

}  // namespace babygrad::bind
