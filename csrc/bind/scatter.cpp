// take, scatter_add and scatter_along_axis. Indices are copied once, wrapped and checked as they are, so
// that no other thread can change them afterwards.
#include <optional>

#include "bind/bind.h"
#include "runtime/memory.h"

namespace babygrad::bind {
namespace {

using Places = std::optional<Workspace>;

// False for anything but an int64 array of places in [-n, n); the reference raises for it.
bool get_places(PyObject* object, std::int64_t n, View& view, Places& places) {
    if (!get_view(object, view) || view.dtype != DType::i64 || !is_contiguous(view)) return false;
    const std::int64_t count = size_of(view);
    places.emplace(static_cast<std::size_t>(count) * sizeof(std::int64_t));
    const auto* data = data_as<const std::int64_t>(view);
    auto* copy = places->as<std::int64_t>();
    for (std::int64_t i = 0; i < count; ++i) {
        const std::int64_t place = data[i];
        if (place < -n || place >= n) return false;
        copy[i] = place < 0 ? place + n : place;
    }
    return true;
}

// C-contiguous data as (axes before, along, axes after).
View three_axes(const View& x, std::int64_t before, std::int64_t along, std::int64_t after) {
    View out;
    out.data = x.data;
    out.dtype = x.dtype;
    out.ndim = 3;
    out.shape[0] = before;
    out.shape[1] = along;
    out.shape[2] = after;
    return out;
}

// `shape` with `axis` replaced by the axes of `index`; false beyond kMaxDims.
bool replaced(const View& shape, int axis, const View& index, View& out) {
    out.ndim = shape.ndim - 1 + index.ndim;
    if (out.ndim > kMaxDims) return false;
    int k = 0;
    for (int i = 0; i < shape.ndim; ++i) {
        if (i != axis) {
            out.shape[k++] = shape.shape[i];
            continue;
        }
        for (int j = 0; j < index.ndim; ++j) out.shape[k++] = index.shape[j];
    }
    return true;
}

std::int64_t product(const View& shape, int begin, int end) {
    std::int64_t n = 1;
    for (int i = begin; i < end; ++i) n *= shape.shape[i];
    return n;
}

PyObject* take(PyObject* const* args) {
    View x, index, shape;
    int axis;
    Places places;
    if (!get_view(args[0], x) || !is_contiguous(x) || !get_axis(args[2], x.ndim, axis) ||
        !get_places(args[1], x.shape[axis], index, places) || !replaced(x, axis, index, shape))
        return kNotCovered;
    Result out(x.dtype, shape.ndim, shape.shape);
    const std::int64_t before = product(x, 0, axis), after = product(x, axis + 1, x.ndim);
    const std::int64_t count = size_of(index);
    if (before * after * count == 0) return out.take();
    const std::int64_t item = itemsize(x.dtype);
    {
        const WithoutGil nogil(0.5 * static_cast<double>(before * after * count));
        kernels().scatter.take[item == 1 ? 0 : item == 4 ? 1 : 2](
            three_axes(x, before, x.shape[axis], after), places->as<std::int64_t>(),
            three_axes(out.view(), before, count, after));
    }
    return out.take();
}

// A tuple of lengths.
bool get_shape(PyObject* object, View& shape) {
    if (!PyTuple_CheckExact(object) || PyTuple_GET_SIZE(object) > kMaxDims) return false;
    shape.ndim = static_cast<int>(PyTuple_GET_SIZE(object));
    for (int i = 0; i < shape.ndim; ++i)
        if (!get_int(PyTuple_GET_ITEM(object, i), shape.shape[i]) || shape.shape[i] < 0)
            return false;
    return true;
}

using ScatterKernel = void (*)(const View& src, const std::int64_t* index, const View& out);

// The result of `shape` with src, of `count` places along the axis, added by `kernel`.
PyObject* scattered(ScatterKernel kernel, const View& src, const View& shape, int axis,
                    std::int64_t count, const Places& places) {
    Result out(src.dtype, shape.ndim, shape.shape);
    out.fill_zero();
    const std::int64_t before = product(shape, 0, axis);
    const std::int64_t after = product(shape, axis + 1, shape.ndim);
    if (before * after * count == 0) return out.take();
    {
        const WithoutGil nogil(0.5 * static_cast<double>(before * after * count));
        kernel(three_axes(src, before, count, after), places->as<std::int64_t>(),
               three_axes(out.view(), before, shape.shape[axis], after));
    }
    return out.take();
}

bool get_source(PyObject* object, View& src) {
    return get_view(object, src) && is_floating(src.dtype) && is_contiguous(src);
}

PyObject* scatter_add(PyObject* const* args) {
    View shape, index, src, expected;
    int axis;
    Places places;
    if (!get_shape(args[0], shape) || !get_axis(args[3], shape.ndim, axis) ||
        !get_source(args[2], src) ||
        !get_places(args[1], shape.shape[axis], index, places) ||
        !replaced(shape, axis, index, expected) || !same_shape(src, expected))
        return kNotCovered;
    return scattered(kernels().scatter.scatter_add[static_cast<int>(src.dtype)], src, shape, axis,
                     size_of(index), places);
}

PyObject* scatter_along_axis(PyObject* const* args) {
    View shape, index, src;
    int axis;
    Places places;
    if (!get_shape(args[0], shape) || !get_axis(args[3], shape.ndim, axis) ||
        !get_source(args[2], src) || !get_places(args[1], shape.shape[axis], index, places) ||
        !same_shape(src, index) || src.ndim != shape.ndim)
        return kNotCovered;
    for (int i = 0; i < shape.ndim; ++i)
        if (i != axis && src.shape[i] != shape.shape[i]) return kNotCovered;
    return scattered(kernels().scatter.scatter_along_axis[static_cast<int>(src.dtype)], src, shape,
                     axis, src.shape[axis], places);
}

}  // namespace

void register_scatter() {
    add_entry({"take", "x indices axis", take});
    add_entry({"scatter_add", "shape indices src axis", scatter_add});
    add_entry({"scatter_along_axis", "shape indices src axis", scatter_along_axis});
}

}  // namespace babygrad::bind
