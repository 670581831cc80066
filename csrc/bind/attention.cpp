// Scaled dot-product attention and its gradient.
#include <algorithm>

#include "bind/bind.h"

namespace babygrad::bind {
namespace {

bool get_heads(PyObject* object, View& x) {
    return get_view(object, x) && x.ndim == 4 && is_floating(x.dtype) && size_of(x) > 0;
}

// The mask, broadcast to the scores' shape; None gives null data.
bool get_mask(PyObject* object, AttentionArgs& a) {
    a.mask.data = nullptr;
    a.mask.dtype = a.q.dtype;
    if (object == Py_None) return true;
    View mask;
    if (!get_view(object, mask) || mask.ndim > 4 ||
        (mask.dtype != DType::b8 && mask.dtype != a.q.dtype))
        return false;
    const std::int64_t shape[] = {a.q.shape[0], a.q.shape[1], a.q.shape[2], a.k.shape[2]};
    for (int i = 1; i <= mask.ndim; ++i)
        if (mask.shape[mask.ndim - i] != 1 && mask.shape[mask.ndim - i] != shape[4 - i])
            return false;
    a.mask = broadcast(mask, shape, 4);
    return true;
}

// q, k, v from args[0..2], and mask, causal and scale from args[mask..mask + 2].
bool get_inputs(PyObject* const* args, PyObject* const* mask, AttentionArgs& a) {
    if (!get_heads(args[0], a.q) || !get_heads(args[1], a.k) || !get_heads(args[2], a.v))
        return false;
    const bool fits = std::equal(a.q.shape, a.q.shape + 2, a.k.shape) &&
                      std::equal(a.k.shape, a.k.shape + 3, a.v.shape) &&
                      a.q.shape[3] == a.k.shape[3] && a.q.dtype == a.k.dtype &&
                      a.q.dtype == a.v.dtype;
    return fits && get_mask(mask[0], a) && get_bool(mask[1], a.causal) &&
           get_number(mask[2], a.scale);
}

// A new array in the memory order of `like`'s axes, which is how a network splits its features into
// heads and joins them again without a copy. The last axis is the fastest in any case.
Result result_like(const View& like, std::int64_t features) {
    const std::int64_t shape[] = {like.shape[0], like.shape[1], like.shape[2], features};
    Result result = in_order_of(like, like.dtype, shape);
    if (result.view().strides[3] == itemsize(like.dtype)) return result;
    return Result(like.dtype, 4, shape);
}

double cost(const AttentionArgs& a) {
    return static_cast<double>(size_of(a.q)) * static_cast<double>(a.k.shape[2]) / 4;
}

PyObject* attention(PyObject* const* args) {
    AttentionArgs a;
    if (!get_inputs(args, args + 3, a)) return kNotCovered;
    Result y = result_like(a.q, a.v.shape[3]);
    Result lse(a.q.dtype, 3, a.q.shape);
    a.y = y.view();
    a.lse = lse.view();
    {
        const WithoutGil nogil(cost(a));
        kernels().attention.attention[static_cast<int>(a.q.dtype)](a);
    }
    return make_tuple({&y, &lse});
}

// gy, q, k, v, y, lse, mask, causal, scale
PyObject* attention_grad(PyObject* const* args) {
    AttentionGradArgs g;
    AttentionArgs& a = g.forward;
    if (!get_heads(args[0], g.gy) || !get_inputs(args + 1, args + 6, a) ||
        !get_heads(args[4], a.y) || !get_view(args[5], a.lse))
        return kNotCovered;
    const std::int64_t shape[] = {a.q.shape[0], a.q.shape[1], a.q.shape[2], a.v.shape[3]};
    if (!std::equal(shape, shape + 4, g.gy.shape) || !same_shape(g.gy, a.y) || a.lse.ndim != 3 ||
        !std::equal(shape, shape + 3, a.lse.shape) ||
        a.y.strides[3] != itemsize(a.y.dtype) || !is_contiguous(a.lse) ||
        g.gy.dtype != a.q.dtype || a.y.dtype != a.q.dtype || a.lse.dtype != a.q.dtype)
        return kNotCovered;
    Result gq = result_like(a.q, a.q.shape[3]), gk = result_like(a.k, a.k.shape[3]);
    Result gv = result_like(a.v, a.v.shape[3]);
    g.gq = gq.view();
    g.gk = gk.view();
    g.gv = gv.view();
    {
        const WithoutGil nogil(3 * cost(a));
        kernels().attention.attention_grad[static_cast<int>(a.q.dtype)](g);
    }
    return make_tuple({&gq, &gk, &gv});
}

}  // namespace

void register_attention() {
    add_entry({"attention", "q k v mask causal scale", attention});
    add_entry({"attention_grad", "gy q k v y lse mask causal scale", attention_grad});
}

}  // namespace babygrad::bind
