// Layer, RMS and batch normalization with their gradients. w, b, gw and gb are contiguous, or have a
// null `data` where there is none.
#pragma once

#include "view.h"

namespace babygrad {

// Contiguous (rows, D) arrays; mean and rstd are (rows,), and mean.data is null for RMS norm.
struct LayerNormArgs {
    View x, w, b, y, mean, rstd;
    double eps;
};
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

struct NormKernels {
    void (*layer_norm[2])(const LayerNormArgs& args);
    void (*layer_norm_grad[2])(const LayerNormGradArgs& args);
    void (*batch_norm[2])(const BatchNormArgs& args);
    void (*batch_norm_grad[2])(const BatchNormGradArgs& args);
};

}  // namespace babygrad
