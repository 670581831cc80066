// Optimizer steps, in place: loops over (p, g, buffer) and (p, g, m, v).
#pragma once

#include "loops.h"

namespace babygrad {

struct OptimizerKernels {
    Loop sgd[2];           // p, g; params: lr, weight_decay
    Loop sgd_momentum[2];  // p, g, buffer; params: lr, weight_decay, momentum, nesterov
    // p, g, m, v; params: step (lr / (1 - beta1^t)), beta1, beta2, eps, weight_decay added to g,
    // shrink (1 - lr wd, or 1), root (sqrt(1 - beta2^t))
    Loop adam[2];
};

}  // namespace babygrad
