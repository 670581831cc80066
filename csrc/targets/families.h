// The list of kernel families: a new one adds its header and its row.
#pragma once

#include "kernels/attention/attention.h"
#include "kernels/conv/conv.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/gemm/gemm.h"
#include "kernels/lines/norm.h"
#include "kernels/optimizer/optimizer.h"
#include "kernels/pooling/pooling.h"
#include "kernels/reduce/reduce.h"
#include "kernels/scatter/scatter.h"
#include "kernels/lines/softmax.h"

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
