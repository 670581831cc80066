// Max and average pooling of (N, H, W, C) arrays; results keep the layout of their input.
#include <algorithm>

#include "bind/bind.h"

namespace babygrad::bind {
namespace {

bool get_pair(PyObject* object, std::int64_t* pair, std::int64_t least) {
    if (!PyTuple_CheckExact(object) || PyTuple_GET_SIZE(object) != 2) return false;
    for (int i = 0; i < 2; ++i)
        if (!get_int(PyTuple_GET_ITEM(object, i), pair[i]) || pair[i] < least ||
            pair[i] > 1 << 24)
            return false;
    return true;
}

bool get_padding(PyObject* object, Pooling& p) {
    if (!PyTuple_CheckExact(object) || PyTuple_GET_SIZE(object) != 2) return false;
    for (int i = 0; i < 2; ++i) {
        std::int64_t sides[2];
        if (!get_pair(PyTuple_GET_ITEM(object, i), sides, 0)) return false;
        p.before[i] = sides[0];
        p.after[i] = sides[1];
    }
    return true;
}

// The number of windows along an axis: ceil_mode admits one that runs over the end but starts before
// it, be it the only one. Not positive where no window fits.
std::int64_t output_size(const Pooling& p, int axis, std::int64_t size, bool ceil_mode) {
    const std::int64_t stride = p.stride[axis];
    std::int64_t room =
        size + p.before[axis] + p.after[axis] - p.dilation[axis] * (p.kernel[axis] - 1) - 1;
    if (ceil_mode) room += stride - 1;
    if (room < 0) return 0;
    const std::int64_t count = room / stride + 1;
    if (!ceil_mode) return count;
    return (count - 1) * stride < size + p.before[axis] ? count : count - 1;
}

bool get_image(PyObject* object, View& x) {
    return get_view(object, x) && is_floating(x.dtype) && x.ndim == 4 && size_of(x) > 0;
}

bool get_shape(PyObject* object, std::int64_t* shape) {
    if (!PyTuple_CheckExact(object) || PyTuple_GET_SIZE(object) != 4) return false;
    for (int i = 0; i < 4; ++i)
        if (!get_int(PyTuple_GET_ITEM(object, i), shape[i]) || shape[i] < 1) return false;
    return true;
}

bool output_shape(const Pooling& p, const std::int64_t* in, bool ceil_mode, std::int64_t* out) {
    std::copy_n(in, 4, out);
    for (int i = 0; i < 2; ++i) {
        out[1 + i] = output_size(p, i, in[1 + i], ceil_mode);
        if (out[1 + i] < 1) return false;
    }
    return true;
}

double cost(const View& x) { return 2 * static_cast<double>(size_of(x)); }

PyObject* max_pool2d(PyObject* const* args) {
    View x;
    Pooling p;
    bool ceil_mode;
    std::int64_t shape[4];
    p.count_padding = false;
    if (!get_image(args[0], x) || !get_pair(args[1], p.kernel, 1) ||
        !get_pair(args[2], p.stride, 1) || !get_padding(args[3], p) ||
        !get_pair(args[4], p.dilation, 1) || !get_bool(args[5], ceil_mode) ||
        !output_shape(p, x.shape, ceil_mode, shape))
        return kNotCovered;
    Result y = in_order_of(x, x.dtype, shape), index = in_order_of(x, DType::i64, shape);
    {
        const WithoutGil nogil(cost(x));
        kernels().pooling.max_pool[static_cast<int>(x.dtype)](p, x, y.view(), index.view());
    }
    return make_tuple({&y, &index});
}

PyObject* max_pool2d_grad(PyObject* const* args) {
    View gy, index;
    std::int64_t shape[4];
    if (!get_image(args[0], gy) || !get_view(args[1], index) || index.dtype != DType::i64 ||
        !same_shape(gy, index) || !get_shape(args[2], shape) || shape[0] != gy.shape[0] ||
        shape[3] != gy.shape[3])
        return kNotCovered;
    Result gx = in_order_of(index, gy.dtype, shape);  // the order of the pooled image
    gx.fill_zero();
    bool valid;
    {
        const WithoutGil nogil(cost(gx.view()));
        valid = kernels().pooling.max_pool_grad[static_cast<int>(gy.dtype)](gy, index, gx.view());
    }
    if (!valid)
        index_error("max_pool2d_grad: index has places outside the plane of %lld",
                    static_cast<long long>(shape[1] * shape[2]));
    return gx.take();
}

bool get_average(PyObject* const* args, Pooling& p, bool& ceil_mode) {
    std::fill_n(p.dilation, 2, 1);
    return get_pair(args[0], p.kernel, 1) && get_pair(args[1], p.stride, 1) &&
           get_padding(args[2], p) && get_bool(args[3], ceil_mode) &&
           get_bool(args[4], p.count_padding);
}

PyObject* avg_pool2d(PyObject* const* args) {
    View x;
    Pooling p;
    bool ceil_mode;
    std::int64_t shape[4];
    if (!get_image(args[0], x) || !get_average(args + 1, p, ceil_mode) ||
        !output_shape(p, x.shape, ceil_mode, shape))
        return kNotCovered;
    Result y = in_order_of(x, x.dtype, shape);
    {
        const WithoutGil nogil(cost(x));
        kernels().pooling.avg_pool[static_cast<int>(x.dtype)](p, x, y.view());
    }
    return y.take();
}

PyObject* avg_pool2d_grad(PyObject* const* args) {
    View gy;
    Pooling p;
    bool ceil_mode;
    std::int64_t shape[4], expected[4];
    if (!get_image(args[0], gy) || !get_shape(args[1], shape) ||
        !get_average(args + 2, p, ceil_mode) || !output_shape(p, shape, ceil_mode, expected) ||
        !std::equal(expected, expected + 4, gy.shape))
        return kNotCovered;
    Result gx = in_order_of(gy, gy.dtype, shape);
    gx.fill_zero();
    {
        const WithoutGil nogil(cost(gx.view()));
        kernels().pooling.avg_pool_grad[static_cast<int>(gy.dtype)](p, gy, gx.view());
    }
    return gx.take();
}

}  // namespace

void register_pooling() {
    add_entry({"max_pool2d", "x kernel stride padding dilation ceil_mode", max_pool2d});
    add_entry({"max_pool2d_grad", "gy index x_shape", max_pool2d_grad});
    add_entry({"avg_pool2d", "x kernel stride padding ceil_mode count_include_pad", avg_pool2d});
    add_entry({"avg_pool2d_grad", "gy x_shape kernel stride padding ceil_mode count_include_pad",
               avg_pool2d_grad});
}

}  // namespace babygrad::bind
