// Scaled dot-product attention, tiled over queries and keys, and its gradient.
#pragma once

#include "runtime/view.h"

namespace babygrad {

// q (B, H, L, D), k (B, H, S, D), v (B, H, S, E), y (B, H, L, E), lse (B, H, L). The mask is
// broadcast to (B, H, L, S): bool (True takes part), of q's dtype (added), or null data. y, lse, gq,
// gk and gv have adjacent elements on the last axis.
struct AttentionArgs {
    View q, k, v, mask, y, lse;
    bool causal;
    double scale;
};
struct AttentionGradArgs {
    AttentionArgs forward;
    View gy, gq, gk, gv;
};

struct AttentionKernels {
    void (*attention[2])(const AttentionArgs& args);
    void (*attention_grad[2])(const AttentionGradArgs& args);
};

}  // namespace babygrad
