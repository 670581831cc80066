#include "bind/operands.h"

#include <algorithm>

namespace babygrad::bind {

bool Operands::add(PyObject* object) {
    if (!get_view(object, views_[count_])) return false;
    ++count_;
    return true;
}

void Operands::add_number(double value) {
    numbers_[count_] = value;
    is_number_[count_++] = true;
}

bool Operands::add_weak(PyObject* object) {
    if (add(object)) return true;
    double value;
    if (!get_number(object, value)) return false;
    add_number(value);
    return true;
}

bool Operands::settle(int first) {
    int array = first;
    while (array < count_ && is_number_[array]) ++array;
    if (array == count_) return false;
    dtype_ = views_[array].dtype;
    for (int k = first; k < count_; ++k) {
        if (!is_number_[k]) {
            if (views_[k].dtype != dtype_) return false;
            continue;
        }
        if (!is_floating(dtype_)) return false;
        numbers_f32_[k] = static_cast<float>(numbers_[k]);
        views_[k].data = dtype_ == DType::f32 ? reinterpret_cast<char*>(&numbers_f32_[k])
                                              : reinterpret_cast<char*>(&numbers_[k]);
        views_[k].dtype = dtype_;
        views_[k].ndim = 0;
    }
    return broadcast_all();
}

bool Operands::broadcast_all() {
    ndim_ = views_[0].ndim;
    std::copy_n(views_[0].shape, ndim_, shape_);
    for (int k = 1; k < count_; ++k) {
        View so_far;
        so_far.ndim = ndim_;
        std::copy_n(shape_, ndim_, so_far.shape);
        if (same_shape(so_far, views_[k])) continue;
        ndim_ = broadcast_shape(shape_, so_far, views_[k]);
        if (ndim_ < 0) return false;
    }
    size_ = 1;
    for (int i = 0; i < ndim_; ++i) size_ *= shape_[i];
    for (int k = 0; k < count_; ++k) {
        View& view = views_[k];
        if (view.ndim == ndim_ && std::equal(shape_, shape_ + ndim_, view.shape)) {
            flat_ = flat_ && is_contiguous(view);
        } else {
            flat_ = flat_ && view.ndim == 0;
            view = broadcast(view, shape_, ndim_);
        }
    }
    return true;
}

PyObject* Operands::run(Loop loop, DType out, std::int64_t grain, const double* params,
                         int first) {
    const View* views[kMax + 1] = {nullptr};
    for (int k = 0; k < count_; ++k) views[k + 1] = &views_[k];
    std::int64_t strides[kMaxDims];
    if (!flat_) {
        int perm[kMaxDims];
        keep_order(perm, views + 1 + first, count_ - first);
        dense_strides(strides, shape_, ndim_, itemsize(out), perm);
    }
    Result y(out, ndim_, shape_, flat_ ? nullptr : strides);
    views[0] = &y.view();
    {
        constexpr double heavy = static_cast<double>(kLightGrain);
        const WithoutGil nogil(static_cast<double>(size_) * heavy / static_cast<double>(4 * grain));
        if (flat_)
            run_flat(loop, views, count_ + 1, grain, params);
        else
            run_loop(loop, views, count_ + 1, grain, params);
    }
    return y.take();
}

}  // namespace babygrad::bind
