// Max and average pooling of (N, H, W, C) arrays in any memory layout, and their gradients.
#pragma once

#include "runtime/view.h"

namespace babygrad {

// The windows of one pooling; index 0 is the vertical axis.
struct Pooling {
    std::int64_t kernel[2], stride[2], before[2], after[2], dilation[2];
    bool count_padding;
};

struct PoolingKernels {
    // index: places h * W + w (int64), -1 where a window holds nothing but padding
    void (*max_pool[2])(const Pooling& p, const View& x, const View& y, const View& index);
    // gx is zero at first; an index of -1 has no place in it; false if one lies outside the plane
    bool (*max_pool_grad[2])(const View& gy, const View& index, const View& gx);
    void (*avg_pool[2])(const Pooling& p, const View& x, const View& y);
    void (*avg_pool_grad[2])(const Pooling& p, const View& gy, const View& gx);
};

}  // namespace babygrad
