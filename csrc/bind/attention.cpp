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

// mask, causal and scale.
bool get_settings(PyObject* const* args, AttentionArgs& a) {
    return get_mask(args[0], a) && get_bool(args[1], a.causal) && get_number(args[2], a.scale);
}

// q, k, v.
bool get_inputs(PyObject* const* args, AttentionArgs& a) {
    return get_heads(args[0], a.q) && get_heads(args[1], a.k) && get_heads(args[2], a.v) &&
           std::equal(a.q.shape, a.q.shape + 2, a.k.shape) &&
           std::equal(a.k.shape, a.k.shape + 3, a.v.shape) && a.q.shape[3] == a.k.shape[3] &&
           a.q.dtype == a.k.dtype && a.q.dtype == a.v.dtype;
}

// Whether gy, y and lse are what the inputs' attention gives, and its gradient takes.
bool fits(const AttentionGradArgs& g) {
    const AttentionArgs& a = g.forward;
    const std::int64_t shape[] = {a.q.shape[0], a.q.shape[1], a.q.shape[2], a.v.shape[3]};
    return std::equal(shape, shape + 4, g.gy.shape) && same_shape(g.gy, a.y) && a.lse.ndim == 3 &&
           std::equal(shape, shape + 3, a.lse.shape) &&
           a.y.strides[3] == itemsize(a.y.dtype) && is_contiguous(a.lse) &&
           g.gy.dtype == a.q.dtype && a.y.dtype == a.q.dtype && a.lse.dtype == a.q.dtype;
}

// Part `part` of `parts` of the last axis of x, (B, L, features), as heads: (B, H, L, D).
View heads_of(const View& x, std::int64_t heads, int part = 0, int parts = 1) {
    View view = x;
    const std::int64_t width = x.shape[2] / parts, size = width / heads;
    view.data += part * width * x.strides[2];
    view.ndim = 4;
    const std::int64_t shape[] = {x.shape[0], heads, x.shape[1], size};
    const std::int64_t strides[] = {x.strides[0], size * x.strides[2], x.strides[1], x.strides[2]};
    std::copy_n(shape, 4, view.shape);
    std::copy_n(strides, 4, view.strides);
    return view;
}

// q, k and v beside each other in one array (B, L, 3 E), and the number of heads.
bool get_joined(PyObject* array, PyObject* number, View& qkv, std::int64_t& heads,
                AttentionArgs& a) {
    if (!get_view(array, qkv) || qkv.ndim != 3 || !is_floating(qkv.dtype) || size_of(qkv) == 0 ||
        !get_int(number, heads) || heads < 1 || heads > qkv.shape[2] ||
        qkv.shape[2] % (3 * heads) != 0)
        return false;
    a.q = heads_of(qkv, heads, 0, 3);
    a.k = heads_of(qkv, heads, 1, 3);
    a.v = heads_of(qkv, heads, 2, 3);
    return true;
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
    if (!get_inputs(args, a) || !get_settings(args + 3, a)) return kNotCovered;
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
    if (!get_heads(args[0], g.gy) || !get_inputs(args + 1, a) || !get_heads(args[4], a.y) ||
        !get_view(args[5], a.lse) || !get_settings(args + 6, a) || !fits(g))
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

// qkv, heads, mask, causal, scale
PyObject* self_attention(PyObject* const* args) {
    AttentionArgs a;
    View qkv;
    std::int64_t heads;
    if (!get_joined(args[0], args[1], qkv, heads, a) || !get_settings(args + 2, a))
        return kNotCovered;
    Result y(qkv.dtype, {qkv.shape[0], qkv.shape[1], qkv.shape[2] / 3});
    Result lse(qkv.dtype, 3, a.q.shape);
    a.y = heads_of(y.view(), heads);
    a.lse = lse.view();
    {
        const WithoutGil nogil(cost(a));
        kernels().attention.attention[static_cast<int>(qkv.dtype)](a);
    }
    return make_tuple({&y, &lse});
}

// gy, qkv, y, lse, heads, mask, causal, scale
PyObject* self_attention_grad(PyObject* const* args) {
    AttentionGradArgs g;
    AttentionArgs& a = g.forward;
    View gy, qkv, y;
    std::int64_t heads;
    if (!get_joined(args[1], args[4], qkv, heads, a) || !get_view(args[0], gy) ||
        !get_view(args[2], y) || gy.ndim != 3 || y.ndim != 3 || !get_view(args[3], a.lse) ||
        gy.shape[2] * 3 != qkv.shape[2] || y.shape[2] * 3 != qkv.shape[2])
        return kNotCovered;
    g.gy = heads_of(gy, heads);
    a.y = heads_of(y, heads);
    if (!get_settings(args + 5, a) || !fits(g)) return kNotCovered;
    Result joined(qkv.dtype, 3, qkv.shape);
    g.gq = heads_of(joined.view(), heads, 0, 3);
    g.gk = heads_of(joined.view(), heads, 1, 3);
    g.gv = heads_of(joined.view(), heads, 2, 3);
    {
        const WithoutGil nogil(3 * cost(a));
        kernels().attention.attention_grad[static_cast<int>(qkv.dtype)](g);
    }
    return joined.take();
}

}  // namespace

void register_attention() {
    add_entry({"attention", "q k v mask causal scale", attention});
    add_entry({"attention_grad", "gy q k v y lse mask causal scale", attention_grad});
    add_entry({"self_attention", "qkv heads mask causal scale", self_attention});
    add_entry({"self_attention_grad", "gy qkv y lse heads mask causal scale", self_attention_grad});
}

}  // namespace babygrad::bind
