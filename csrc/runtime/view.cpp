#include "runtime/view.h"

#include <algorithm>
#include <cstdlib>

namespace babygrad {

bool same_shape(const View& a, const View& b) {
    return a.ndim == b.ndim && std::equal(a.shape, a.shape + a.ndim, b.shape);
}

bool is_contiguous(const View& view) {
    std::int64_t expected = itemsize(view.dtype);
    for (int i = view.ndim - 1; i >= 0; --i) {
        if (view.shape[i] == 0) return true;
        if (view.shape[i] != 1 && view.strides[i] != expected) return false;
        expected *= view.shape[i];
    }
    return true;
}

void dense_strides(std::int64_t* strides, const std::int64_t* shape, int ndim, std::int64_t item,
                   const int* perm) {
    for (int i = ndim - 1; i >= 0; --i) {
        const int axis = perm ? perm[i] : i;
        strides[axis] = item;
        item *= std::max<std::int64_t>(shape[axis], 1);
    }
}

bool needs_copy(const View& view, const std::int64_t* shape, int ndim) {
    std::int64_t sizes[kMaxDims], strides[kMaxDims], total = 1;
    for (int i = 0; i < ndim; ++i)
        if (__builtin_mul_overflow(total, shape[i], &total)) return false;
    if (total != size_of(view) || total == 0) return false;
    int count = 0;
    for (int i = 0; i < view.ndim; ++i) {
        if (view.shape[i] == 1) continue;
        sizes[count] = view.shape[i];
        strides[count++] = view.strides[i];
    }
    // The shortest runs of axes, from `first` on, that have as many elements on both sides.
    for (int first = 0, new_axis = 0; first < count;) {
        int end = first + 1;
        std::int64_t have = sizes[first], want = shape[new_axis++];
        while (have != want) {
            if (want < have)
                want *= shape[new_axis++];
            else
                have *= sizes[end++];
        }
        for (int i = first; i + 1 < end; ++i)
            if (strides[i] != sizes[i + 1] * strides[i + 1]) return true;
        first = end;
    }
    return false;
}

namespace {

enum class Order { keep, swap, open };

// Whether axis `i`, which comes before axis `j`, should come after it. As in numpy's iterator, one
// operand that already has them in order outweighs those that have not.
Order compare_axes(const View* const* views, int count, int i, int j) {
    Order order = Order::open;
    for (int k = 0; k < count; ++k) {
        const View& view = *views[k];
        const std::int64_t si = view.shape[i] == 1 ? 0 : std::llabs(view.strides[i]);
        const std::int64_t sj = view.shape[j] == 1 ? 0 : std::llabs(view.strides[j]);
        if (si == 0 || sj == 0) continue;
        if (sj <= si) return Order::keep;
        order = Order::swap;
    }
    return order;
}

}  // namespace

void keep_order(int* perm, const View* const* views, int count) {
    const int ndim = views[0]->ndim;
    for (int i = 0; i < ndim; ++i) {
        int position = i;
        for (int j = i - 1; j >= 0; --j) {
            const Order order = compare_axes(views, count, perm[j], i);
            if (order == Order::keep) break;
            if (order == Order::swap) position = j;
        }
        std::copy_backward(perm + position, perm + i, perm + i + 1);
        perm[position] = i;
    }
}

View permuted(const View& view, const int* perm) {
    View out;
    out.data = view.data;
    out.dtype = view.dtype;
    out.ndim = view.ndim;
    for (int i = 0; i < view.ndim; ++i) {
        out.shape[i] = view.shape[perm[i]];
        out.strides[i] = view.strides[perm[i]];
    }
    return out;
}

View broadcast(const View& view, const std::int64_t* shape, int ndim) {
    View out;
    out.data = view.data;
    out.dtype = view.dtype;
    out.ndim = ndim;
    const int added = ndim - view.ndim;
    for (int i = 0; i < ndim; ++i) {
        const bool repeats = i < added || view.shape[i - added] == 1;
        out.shape[i] = shape[i];
        out.strides[i] = repeats ? 0 : view.strides[i - added];
    }
    return out;
}

int broadcast_shape(std::int64_t* shape, const View& a, const View& b) {
    const int ndim = std::max(a.ndim, b.ndim);
    for (int i = 1; i <= ndim; ++i) {
        const std::int64_t da = i <= a.ndim ? a.shape[a.ndim - i] : 1;
        const std::int64_t db = i <= b.ndim ? b.shape[b.ndim - i] : 1;
        if (da != db && da != 1 && db != 1) return -1;
        shape[ndim - i] = da == 1 ? db : da;
    }
    return ndim;
}

Nest make_nest(const View* const* views, int count, int deciding) {
    Nest nest;
    nest.operands = count;
    for (int k = 0; k < count; ++k) nest.data[k] = views[k]->data;
    int perm[kMaxDims];
    keep_order(perm, views, deciding);
    int ndim = 0;
    for (int i = 0; i < views[0]->ndim; ++i) {
        const int axis = perm[i];
        const std::int64_t length = views[0]->shape[axis];
        if (length == 1) continue;
        bool merges = ndim > 0;
        for (int k = 0; merges && k < count; ++k)
            merges = nest.strides[ndim - 1][k] == views[k]->strides[axis] * length;
        if (!merges) nest.shape[ndim++] = 1;
        nest.shape[ndim - 1] *= length;
        for (int k = 0; k < count; ++k) nest.strides[ndim - 1][k] = views[k]->strides[axis];
    }
    if (ndim == 0) {
        nest.shape[0] = 1;
        std::fill_n(nest.strides[0], count, 0);
        ndim = 1;
    }
    nest.ndim = ndim;
    return nest;
}

void nest_offsets(const Nest& nest, int axes, std::int64_t index, char** data) {
    std::copy_n(nest.data, nest.operands, data);
    for (int axis = axes - 1; axis >= 0; --axis) {
        const std::int64_t i = index % nest.shape[axis];
        index /= nest.shape[axis];
        for (int k = 0; k < nest.operands; ++k) data[k] += i * nest.strides[axis][k];
    }
}

}  // namespace babygrad
