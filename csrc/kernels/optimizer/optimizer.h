// Optimizer steps, in place: loops over parameters, gradients and state.
#pragma once

#include "runtime/loops.h"

namespace babygrad {

struct OptimizerKernels {
    Loop sgd[2];           // p, g; params: lr, weight_decay
    Loop sgd_momentum[2];  // p, g, buffer; params: lr, weight_decay, momentum, nesterov
    // p, g, m, v; params: step (lr / (1 - beta1^t)), beta1, beta2, eps, weight_decay added to g,
    // shrink (1 - lr wd, or 1), root_scale (1 / sqrt(1 - beta2^t))
    Loop adam[2];
    // p, g, v, and with momentum buffer; params: lr, weight_decay, decay and weight of v's squares,
    // eps, momentum. Adagrad is the one without momentum, with decay and weight 1.
    Loop rmsprop[2];
    Loop rmsprop_momentum[2];
};

}  // namespace babygrad
