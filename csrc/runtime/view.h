// A strided array as the kernels see it: no Python, no numpy, no ownership.
//
// Headers that kernels include hold declarations, plain structs and `static inline` functions
// only: an ordinary inline function would be a weak symbol, and the linker could take the copy
// compiled for one instruction set for all of them.
#pragma once

#include <cstdint>

namespace babygrad {

constexpr int kMaxDims = 16;

enum class DType : std::uint8_t { f32, f64, i32, i64, b8 };
constexpr int kDTypeCount = 5;

static inline std::int64_t itemsize(DType dtype) {
    constexpr std::int64_t sizes[] = {4, 8, 4, 8, 1};
    return sizes[static_cast<int>(dtype)];
}

// Strides are in bytes, as in numpy. Only the first `ndim` entries are meaningful.
struct View {
    char* data;
    DType dtype;
    int ndim;
    std::int64_t shape[kMaxDims];
    std::int64_t strides[kMaxDims];
};

template <class T>
static inline T* data_as(const View& view) {
    return reinterpret_cast<T*>(view.data);
}

static inline bool is_floating(DType dtype) { return dtype <= DType::f64; }

static inline std::int64_t size_of(const View& view) {
    std::int64_t n = 1;
    for (int i = 0; i < view.ndim; ++i) n *= view.shape[i];
    return n;
}

// The i-th axis counted from either end.
static inline std::int64_t dim(const View& view, int axis) {
    return view.shape[axis < 0 ? axis + view.ndim : axis];
}
static inline std::int64_t stride(const View& view, int axis) {
    return view.strides[axis < 0 ? axis + view.ndim : axis];
}

bool same_shape(const View& a, const View& b);

// Whether the elements lie without gaps in C order (axes of length 1 do not count).
bool is_contiguous(const View& view);

// Fills `strides` for a dense array of `shape`, the last axis fastest, or in the order of `perm`
// (perm[ndim - 1] is the fastest axis).
void dense_strides(std::int64_t* strides, const std::int64_t* shape, int ndim, std::int64_t item,
                   const int* perm = nullptr);

// Whether the view's elements in C order, under a shape of as many elements, are no view of its memory.
bool needs_copy(const View& view, const std::int64_t* shape, int ndim);

// The axis order numpy calls K: axes sorted by decreasing stride over all views, which have been
// broadcast to one shape; C order where they disagree or leave it open.
void keep_order(int* perm, const View* const* views, int count);

// `view` with its axes in the order of `perm`.
View permuted(const View& view, const int* perm);

// `view` broadcast to `shape` (strides 0 where it repeats); the shapes must be compatible.
View broadcast(const View& view, const std::int64_t* shape, int ndim);

// The common shape of two views; returns its rank, or -1 if they do not broadcast.
int broadcast_shape(std::int64_t* shape, const View& a, const View& b);

// Several views of one shape walked together: axes sorted slowest first and merged where every
// operand can be. `strides[axis][operand]`.
constexpr int kMaxOperands = 6;
struct Nest {
    int ndim;
    int operands;
    std::int64_t shape[kMaxDims];
    std::int64_t strides[kMaxDims][kMaxOperands];
    char* data[kMaxOperands];
};

// The order of the axes is that of the first `deciding` views.
Nest make_nest(const View* const* views, int count, int deciding);

// The offset of each operand at position `index` of the nest's first `axes` axes in C order.
void nest_offsets(const Nest& nest, int axes, std::int64_t index, char** data);

}  // namespace babygrad
