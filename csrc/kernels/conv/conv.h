// Convolution in two dimensions and its two gradients, without an im2col matrix.
#pragma once

#include <cstdint>

#include "runtime/view.h"

namespace babygrad {

// Per axis (height, width). Padding after the input only shows in the output's size.
struct ConvGeometry {
    std::int64_t stride[2];
    std::int64_t padding[2];
    std::int64_t dilation[2];
    std::int64_t groups;
};

// x (N, H, W, C), w (KH, KW, C / groups, O), b (O,) or null, y (N, HO, WO, O); any strides, one
// dtype, float32 or float64, and sizes that fit together. y and gx are dense.
struct ConvKernels {
    void (*forward)(const View& x, const View& w, const View* b, const ConvGeometry& geometry,
                    const View& y);
    void (*input_grad)(const View& gy, const View& w, const ConvGeometry& geometry,
                       const View& gx);
    void (*weight_grad)(const View& gy, const View& x, const ConvGeometry& geometry,
                        const View& gw);
};

}  // namespace babygrad
