// The list of kernel families: a new one adds its header and its row.
#pragma once

#include "kernels/attention.h"
#include "kernels/conv.h"
#include "kernels/elementwise.h"
#include "kernels/gemm.h"
#include "kernels/norm.h"
#include "kernels/optimizer.h"
#include "kernels/pooling.h"
#include "kernels/reduce.h"
#include "kernels/scatter.h"
#include "kernels/softmax.h"

#define BABYGRAD_FAMILIES(X)            \
    X(ElementwiseKernels, elementwise)  \
    X(SelectKernels, select)            \
    X(SoftmaxKernels, softmax)          \
    X(OptimizerKernels, optimizer)      \
    X(NormKernels, norm)                \
    X(AttentionKernels, attention)      \
    X(PoolingKernels, pooling)          \
    X(ScatterKernels, scatter)          \
    X(ReduceKernels, reduce)            \
    X(GemmKernels, gemm)                \
    X(ConvKernels, conv)
