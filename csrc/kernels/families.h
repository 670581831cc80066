// The list of kernel families: a new one adds its header and its row.
#pragma once

#include "kernels/conv.h"
#include "kernels/elementwise.h"
#include "kernels/gemm.h"
#include "kernels/reduce.h"

#define BABYGRAD_FAMILIES(X)            \
    X(ElementwiseKernels, elementwise)  \
    X(ReduceKernels, reduce)            \
    X(GemmKernels, gemm)                \
    X(ConvKernels, conv)
