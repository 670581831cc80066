// The indirection buffer: for a run of output pixels, a pointer to each piece of the window that
// the pixel sees (M. Dukhan, "The Indirect Convolution Algorithm", 2019).
//
// A piece is one tap's channels or, where the taps of a row are adjacent in memory, a whole row of
// the window: longer runs for the micro-kernel, which is what makes few channels fast. Pieces that
// lie outside the image point at zeros; the two ends of an image row, where window rows are partly
// outside, are copied next to their zeros, once for all the windows and taps that read them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "kernels/conv/conv.h"
#include "runtime/memory.h"

namespace babygrad::BABYGRAD_TARGET {

// NHWC pixels with adjacent channels; strides in elements.
template <class T>
struct Image {
    T* data;
    std::int64_t n, h, w, c;
    std::int64_t stride_n, stride_h, stride_w;
};

// Along one axis, tap t of output o reads input o * stride + first + t * step.
struct TapAxis {
    std::int64_t taps, first, step, stride;
};

namespace {

// The copied ends of image rows of one block of pixels take at most this much.
constexpr std::int64_t kBorderBytes = 16 << 20;
constexpr std::int64_t kBlockPixels = 144;

// How many of `count` positions at, at + step, ... lie below `limit`.
inline std::int64_t positions_below(std::int64_t at, std::int64_t limit, std::int64_t step,
                                    std::int64_t count) {
    if (at >= limit) return 0;
    return std::min((limit - at + step - 1) / step, count);
}

// Calls fn(index, row, column, length) for each run of the pixels [first, first + count) that lies in
// one row of `width` pixels.
template <class Fn>
inline void each_run(std::int64_t first, std::int64_t count, std::int64_t width, const Fn& fn) {
    std::int64_t column = first % width, row = first / width;
    for (std::int64_t i = 0; i < count; column = 0, ++row) {
        const std::int64_t length = std::min(width - column, count - i);
        fn(i, row, column, length);
        i += length;
    }
}

template <class T>
struct Windows {
    Image<const T> x;
    TapAxis h, w;
    std::int64_t out_h, out_w;
    std::int64_t channels;  // of one group
    bool by_rows;
    std::int64_t segments, length;
    std::int64_t left, right;  // columns before `left` and from `right` on are partly outside

    Windows(const Image<const T>& image, const TapAxis& taps_h, const TapAxis& taps_w,
            std::int64_t height, std::int64_t width, std::int64_t groups)
        : x(image), h(taps_h), w(taps_w), out_h(height), out_w(width), channels(image.c / groups) {
        left = below(w.first, 0, out_w);
        right = below(w.first, x.w - w.taps + 1, out_w);
        if (right < left) right = left;
        const bool fits = left_columns() <= 2 * w.taps && right_columns() <= 2 * w.taps &&
                          border_size(kBlockPixels) * static_cast<std::int64_t>(sizeof(T)) <=
                              kBorderBytes;
        by_rows = groups == 1 && w.taps > 1 && w.step == 1 && x.stride_w == x.c && fits;
        segments = by_rows ? h.taps : h.taps * w.taps;
        length = by_rows ? w.taps * channels : channels;
    }

    // Of the input columns of `run` outputs, from iw on.
    std::int64_t below(std::int64_t iw, std::int64_t limit, std::int64_t run) const {
        return positions_below(iw, limit, w.stride, run);
    }
    // Image columns that the windows at either end reach.
    std::int64_t left_columns() const { return left ? (left - 1) * w.stride + w.taps : 0; }
    std::int64_t right_columns() const {
        return right < out_w ? (out_w - 1 - right) * w.stride + w.taps : 0;
    }
    // Elements of the copied ends that `count` pixels may need: those of each row of windows.
    std::int64_t border_size(std::int64_t count) const {
        const std::int64_t rows = out_w ? count / out_w + 2 : 0;
        return rows * h.taps * (left_columns() + right_columns()) * channels;
    }
    std::int64_t pixels() const { return x.n * out_h * out_w; }
};

// Pointers to the pixels [first, first + count) of all images in C order.
template <class T>
void pixel_pointers(const Image<T>& image, std::int64_t first, std::int64_t count, T** out) {
    each_run(first, count, image.w,
             [&](std::int64_t i, std::int64_t row, std::int64_t w, std::int64_t run) {
        T* const base = image.data + row / image.h * image.stride_n +
                        row % image.h * image.stride_h + w * image.stride_w;
        for (std::int64_t p = 0; p < run; ++p) out[i + p] = base + p * image.stride_w;
    });
}

// The pointers of up to `capacity` pixels: pixel i's piece s is at(s)[i]. One per task.
template <class T>
class WindowTable {
public:
    WindowTable(const Windows<T>& windows, std::int64_t capacity)
        : windows_(windows),
          capacity_(capacity),
          pointers_(static_cast<std::size_t>(windows.segments * capacity) * sizeof(T*)),
          zeros_(static_cast<std::size_t>(zero_count(windows)) * sizeof(T)),
          border_(windows.by_rows
                      ? static_cast<std::size_t>(windows.border_size(capacity)) * sizeof(T)
                      : 0) {
        std::memset(zeros_.template as<T>(), 0,
                    static_cast<std::size_t>(zero_count(windows)) * sizeof(T));
    }

    const T* const* at(std::int64_t segment) const {
        return pointers_.template as<const T*>() + segment * capacity_;
    }
    std::int64_t stride() const { return capacity_; }

    // Pixels [first, first + count) of all images in C order.
    void fill(std::int64_t first, std::int64_t count) {
        border_used_ = border_.template as<T>();
        for (Ends& ends : ends_) ends.row = nullptr;
        each_run(first, count, windows_.out_w,
                 [&](std::int64_t i, std::int64_t row, std::int64_t ow, std::int64_t run) {
            fill_run(i, row / windows_.out_h, row % windows_.out_h, ow, run);
        });
    }

private:
    static std::int64_t zero_count(const Windows<T>& windows) {
        return windows.by_rows ? windows.length : windows.x.c;
    }

    // `run` pixels of one output row, from column ow, into the table from index i.
    void fill_run(std::int64_t i, std::int64_t image, std::int64_t oh, std::int64_t ow,
                  std::int64_t run) {
        const Windows<T>& v = windows_;
        const std::int64_t per_row = v.by_rows ? 1 : v.w.taps;
        for (std::int64_t t = 0; t < v.h.taps; ++t) {
            const std::int64_t ih = oh * v.h.stride + v.h.first + t * v.h.step;
            const T** out = pointers_.template as<const T*>() + t * per_row * capacity_ + i;
            if (ih < 0 || ih >= v.x.h) {
                for (std::int64_t s = 0; s < per_row; ++s) fill_zeros(out + s * capacity_, 0, run);
                continue;
            }
            const T* row = v.x.data + image * v.x.stride_n + ih * v.x.stride_h;
            if (v.by_rows) {
                fill_rows(out, row, ih, ow, run);
            } else {
                for (std::int64_t s = 0; s < per_row; ++s)
                    fill_taps(out + s * capacity_, row,
                              ow * v.w.stride + v.w.first + s * v.w.step, run);
            }
        }
    }

    void fill_zeros(const T** out, std::int64_t begin, std::int64_t end) {
        for (std::int64_t p = begin; p < end; ++p) out[p] = zeros_.template as<T>();
    }

    // One tap: inside where 0 <= iw < width.
    void fill_taps(const T** out, const T* row, std::int64_t iw, std::int64_t run) {
        const std::int64_t begin = windows_.below(iw, 0, run);
        const std::int64_t end = windows_.below(iw, windows_.x.w, run);
        fill_zeros(out, 0, begin);
        fill_pointers(out, row + iw * windows_.x.stride_w, begin, end);
        fill_zeros(out, end, run);
    }

    // out[p] = base + p pixels' distance.
    void fill_pointers(const T** out, const T* base, std::int64_t begin, std::int64_t end) const {
        const std::int64_t step = windows_.w.stride * windows_.x.stride_w;
        for (std::int64_t p = begin; p < end; ++p) out[p] = base + p * step;
    }

    // Rows of taps of input row ih, for the output columns [ow, ow + run).
    void fill_rows(const T** out, const T* row, std::int64_t ih, std::int64_t ow,
                   std::int64_t run) {
        const Windows<T>& v = windows_;
        const auto clip = [&](std::int64_t column) {
            return column < ow ? 0 : column - ow < run ? column - ow : run;
        };
        const std::int64_t begin = clip(v.left), end = clip(v.right);
        const std::int64_t step = v.w.stride * v.channels;
        fill_pointers(out, row + (v.w.first + ow * v.w.stride) * v.channels, begin, end);
        if (begin == 0 && end == run) return;
        const Ends& ends = row_ends(row, ih);
        fill_pointers(out, ends.left + ow * step, 0, begin);
        fill_pointers(out, ends.right + (ow - v.right) * step, end, run);
    }

    // The two ends of an image row beside their zeros.
    struct Ends {
        const T* row;
        const T *left, *right;
    };

    const Ends& row_ends(const T* row, std::int64_t ih) {
        const Windows<T>& v = windows_;
        Ends& ends = ends_[static_cast<std::size_t>(ih) % kEnds];
        if (ends.row != row) {
            ends.row = row;
            ends.left = copy_columns(row, v.w.first, v.left_columns());
            ends.right =
                copy_columns(row, v.w.first + v.right * v.w.stride, v.right_columns());
        }
        return ends;
    }

    const T* copy_columns(const T* row, std::int64_t first, std::int64_t columns) {
        const std::int64_t c = windows_.channels, width = windows_.x.w;
        const auto clip = [&](std::int64_t column) {
            return column < 0 ? 0 : column < columns ? column : columns;
        };
        const std::int64_t begin = clip(-first) * c, end = clip(width - first) * c;
        T* copy = border_used_;
        border_used_ += columns * c;
        for (std::int64_t j = 0; j < begin; ++j) copy[j] = 0;
        for (std::int64_t j = begin; j < end; ++j) copy[j] = row[first * c + j];
        for (std::int64_t j = end < begin ? begin : end; j < columns * c; ++j) copy[j] = 0;
        return copy;
    }

    static constexpr std::size_t kEnds = 32;
    Ends ends_[kEnds];
    Windows<T> windows_;
    std::int64_t capacity_;
    Workspace pointers_, zeros_, border_;
    T* border_used_ = nullptr;
};

}  // namespace
}  // namespace babygrad::BABYGRAD_TARGET
