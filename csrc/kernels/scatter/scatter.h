// Gathering and scattering along one axis, with indices that the caller has checked.
#pragma once

#include "runtime/view.h"

namespace babygrad {

// x is (A, N, B), out (A, K, B), both C-contiguous; index holds K places in [0, N).
struct ScatterKernels {
    // out[a, k] = x[a, index[k]], for elements of 1, 4 and 8 bytes
    void (*take[3])(const View& x, const std::int64_t* index, const View& out);
    // out[a, index[k]] += src[a, k]; src is (A, K, B), out (A, N, B) and zero at first
    void (*scatter_add[2])(const View& src, const std::int64_t* index, const View& out);
    // out[a, index[a, k, b], b] += src[a, k, b], for an index of src's shape
    void (*scatter_along_axis[2])(const View& src, const std::int64_t* index, const View& out);
};

}  // namespace babygrad
