// conv2d, conv2d_input_grad and conv2d_weight_grad.
#include "bind/bind.h"

namespace babygrad::bind {
namespace {

// Sizes and parameters beyond this cannot be told from overflow.
constexpr std::int64_t kLimit = std::int64_t{1} << 31;

bool get_pair(PyObject* object, std::int64_t least, std::int64_t* pair) {
    if (!PyTuple_CheckExact(object) || PyTuple_GET_SIZE(object) != 2) return false;
    for (int i = 0; i < 2; ++i)
        if (!get_int(PyTuple_GET_ITEM(object, i), pair[i]) || pair[i] < least || pair[i] > kLimit)
            return false;
    return true;
}

bool get_shape(PyObject* object, std::int64_t* shape) {
    if (!PyTuple_CheckExact(object) || PyTuple_GET_SIZE(object) != 4) return false;
    for (int i = 0; i < 4; ++i)
        if (!get_int(PyTuple_GET_ITEM(object, i), shape[i]) || shape[i] < 0 || shape[i] > kLimit)
            return false;
    return true;
}

// ((top, bottom), (left, right)) and the rest of a convolution's parameters.
struct Parameters {
    ConvGeometry geometry;
    std::int64_t padding_after[2];

    bool parse(PyObject* stride, PyObject* padding, PyObject* dilation, PyObject* groups) {
        if (!PyTuple_CheckExact(padding) || PyTuple_GET_SIZE(padding) != 2) return false;
        for (int axis = 0; axis < 2; ++axis) {
            std::int64_t pair[2];
            if (!get_pair(PyTuple_GET_ITEM(padding, axis), 0, pair)) return false;
            geometry.padding[axis] = pair[0];
            padding_after[axis] = pair[1];
        }
        return get_pair(stride, 1, geometry.stride) && get_pair(dilation, 1, geometry.dilation) &&
               get_int(groups, geometry.groups) && geometry.groups >= 1 &&
               geometry.groups <= kLimit;
    }

    // Whether x (N, H, W, C), w (KH, KW, C / groups, O) and y (N, HO, WO, O) fit together; computes
    // y's height and width when it asks for them with -1.
    bool fits(const std::int64_t* x, const std::int64_t* w, std::int64_t* y) const {
        for (int i = 0; i < 4; ++i)
            if (x[i] > kLimit || w[i] > kLimit || y[i] > kLimit) return false;
        for (int axis = 0; axis < 2; ++axis) {
            const std::int64_t reach = geometry.dilation[axis] * (w[axis] - 1) + 1;
            const std::int64_t room =
                x[axis + 1] + geometry.padding[axis] + padding_after[axis] - reach;
            if (w[axis] < 1 || room < 0) return false;
            const std::int64_t size = room / geometry.stride[axis] + 1;
            if (y[axis + 1] >= 0 && y[axis + 1] != size) return false;
            y[axis + 1] = size;
        }
        return x[0] == y[0] && x[3] == w[2] * geometry.groups && w[3] == y[3] &&
               w[3] % geometry.groups == 0;
    }
};

// Nanoseconds, at a cautious 20 multiply-adds each.
double conv_time(const std::int64_t* y, const std::int64_t* w) {
    double work = 0.05;
    for (int i = 0; i < 4; ++i) work *= static_cast<double>(y[i]);
    for (int i = 0; i < 3; ++i) work *= static_cast<double>(w[i]);
    return work;
}

bool get_images(PyObject* first, View& a, PyObject* second, View& b) {
    return get_view(first, a) && get_view(second, b) && a.dtype == b.dtype &&
           is_floating(a.dtype) && a.ndim == 4 && b.ndim == 4;
}

PyObject* conv2d(PyObject* const* args) {
    View x, w, b;
    Parameters p;
    if (!get_images(args[0], x, args[1], w) || !p.parse(args[3], args[4], args[5], args[6]))
        return kNotCovered;
    const bool has_bias = args[2] != Py_None;
    if (has_bias && (!get_view(args[2], b) || b.dtype != x.dtype || b.ndim != 1 ||
                     b.shape[0] != w.shape[3]))
        return kNotCovered;
    std::int64_t shape[] = {x.shape[0], -1, -1, w.shape[3]};
    if (!p.fits(x.shape, w.shape, shape)) return kNotCovered;
    Result y(x.dtype, 4, shape);
    {
        const WithoutGil nogil(conv_time(shape, w.shape));
        kernels().conv.forward(x, w, has_bias ? &b : nullptr, p.geometry, y.view());
    }
    return y.take();
}

PyObject* conv2d_input_grad(PyObject* const* args) {
    View gy, w;
    Parameters p;
    std::int64_t shape[4];
    if (!get_images(args[0], gy, args[1], w) || !get_shape(args[2], shape) ||
        !p.parse(args[3], args[4], args[5], args[6]) || !p.fits(shape, w.shape, gy.shape))
        return kNotCovered;
    Result gx(gy.dtype, 4, shape);
    {
        const WithoutGil nogil(conv_time(gy.shape, w.shape));
        kernels().conv.input_grad(gy, w, p.geometry, gx.view());
    }
    return gx.take();
}

PyObject* conv2d_weight_grad(PyObject* const* args) {
    View gy, x;
    Parameters p;
    std::int64_t shape[4];
    if (!get_images(args[0], gy, args[1], x) || !get_shape(args[2], shape) ||
        !p.parse(args[3], args[4], args[5], args[6]) || !p.fits(x.shape, shape, gy.shape))
        return kNotCovered;
    // Stored (O, C, KH, KW), as layers keep their weights, so that an update walks both in order.
    constexpr int weight_order[] = {3, 2, 0, 1};
    std::int64_t strides[4];
    dense_strides(strides, shape, 4, itemsize(gy.dtype), weight_order);
    Result gw(gy.dtype, 4, shape, strides);
    {
        const WithoutGil nogil(conv_time(gy.shape, shape));
        kernels().conv.weight_grad(gy, x, p.geometry, gw.view());
    }
    return gw.take();
}

}  // namespace

void register_conv() {
    add_entry({"conv2d", "x w b stride padding dilation groups", conv2d});
    add_entry({"conv2d_input_grad", "gy w x_shape stride padding dilation groups",
               conv2d_input_grad});
    add_entry({"conv2d_weight_grad", "gy x w_shape stride padding dilation groups",
               conv2d_weight_grad});
}

}  // namespace babygrad::bind
