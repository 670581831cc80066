// Layer, RMS and batch normalization with their gradients. w, b, gw and gb are contiguous, or have a
// null `data` where there is none.
#pragma once

#include <limits>

#include "runtime/view.h"

namespace babygrad {

// Contiguous (rows, D) arrays; mean and rstd are (rows,), and mean.data is null for RMS norm.
struct LayerNormArgs {
    View x, w, b, y, mean, rstd;
    double eps;
};

// The variance below which squares lose digits, and the powers of two for what is below it and for what
// overflows, to which the squares are taken relative then. float32 has float64 for that.
template <class T>
struct NormRange {
    static constexpr double small = 0x1p-900, up = 0x1p600, down = 0x1p-540;
};
template <>
struct NormRange<float> {
    static constexpr double small = 0x1p-102, up = 1, down = 1;
};
// Whether a variance, with eps, is one of plain arithmetic.
template <class T>
constexpr bool is_plain(T variance) {
    return variance > static_cast<T>(NormRange<T>::small) && variance <= std::numeric_limits<T>::max();
}

struct LayerNormGradArgs {
    View gy, x, w, mean, rstd, gx, gw, gb;
};

// x, y, gy and gx are (M, C, L) with the same strides, the last axis contiguous or, when L is 1, the
// second. The statistics are (C,).
struct BatchNormArgs {
    View x, w, b, y, mean, var, rstd;
    double eps;
};
struct BatchNormGradArgs {
    View gy, x, w, mean, rstd, gx, gw, gb;
};

// x and y as above; mean, scale and bias (C,).
struct ChannelAffineArgs {
    View x, mean, scale, bias, y;
};

struct NormKernels {
    void (*layer_norm[2])(const LayerNormArgs& args);
    void (*layer_norm_grad[2])(const LayerNormGradArgs& args);
    void (*batch_norm[2])(const BatchNormArgs& args);
    void (*batch_norm_grad[2])(const BatchNormGradArgs& args);
    void (*channel_affine[2])(const ChannelAffineArgs& args);
};

}  // namespace babygrad
