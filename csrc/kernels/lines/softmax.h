// Softmax, log-softmax and their gradients along one axis; cross-entropy over rows of logits.
#pragma once

#include "runtime/view.h"

namespace babygrad {

// Views of one shape; the operation runs along the last axis, the others come in any layout.
struct SoftmaxKernels {
    void (*softmax[2])(const View& x, const View& y);
    void (*log_softmax[2])(const View& x, const View& y);
    void (*softmax_grad[2])(const View& gy, const View& y, const View& gx);
    void (*log_softmax_grad[2])(const View& gy, const View& y, const View& gx);
    void (*logsumexp[2])(const View& x, const View& lse);  // lse: without the last axis
    // x (N, C), target (N,) int64 checked to be -1 or in [0, C), loss and lse (N,) contiguous.
    void (*cross_entropy[2])(const View& x, const View& target, const View& loss, const View& lse);
    void (*cross_entropy_grad[2])(const View& gy, const View& x, const View& lse,
                                  const View& target, const View& gx);
};

}  // namespace babygrad
