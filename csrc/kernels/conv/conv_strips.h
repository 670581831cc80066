// Copies of the pixels that a block of output pixels reads in one row of the window, kTileColumns
// channels of each side by side: a panel of the weight gradient's right operand for every tap of
// that row. Pixels of an image are often a power of two apart and would push each other out of L1;
// a strip lies in one piece, and its copy is shared by the taps.
#pragma once

#include <algorithm>

#include "kernels/conv/conv_windows.h"
#include "kernels/gemm/gemm_tile.h"
#include "runtime/memory.h"

namespace babygrad::BABYGRAD_TARGET {
namespace {

// How the taps of a window's row share a strip: all of them, or, where the pixels between those
// that are read would make it longer, none.
struct StripShape {
    std::int64_t taps;      // that a strip serves
    std::int64_t tap;       // distance of two taps in the strip, in pixels
    std::int64_t output;    // distance of two output pixels
    std::int64_t source;    // distance in the image of two pixels of the strip

    StripShape(const TapAxis& w, std::int64_t out_w) : taps(1), tap(0), output(1), source(w.stride) {
        const std::int64_t halo = (w.taps - 1) * w.step + 1;
        if (halo > kMaxHalo || (out_w - 1) * w.stride + halo > w.taps * out_w) return;
        taps = w.taps;
        tap = w.step;
        output = w.stride;
        source = 1;
    }
    std::int64_t pixels(std::int64_t outputs) const {
        return (outputs - 1) * output + (taps - 1) * tap + 1;
    }

private:
    static constexpr std::int64_t kMaxHalo = 1024;
};

// The strips of blocks of up to kCapacity output pixels. One per task.
template <class T>
class Strips {
public:
    static constexpr std::int64_t kCapacity = 256;

    explicit Strips(const Windows<T>& windows)
        : windows_(windows),
          shape_(windows.w, windows.out_w),
          space_(static_cast<std::size_t>(most_pixels() * kTileColumns<T>) * sizeof(T)) {}

    // Output pixels [first, first + count) of all images in C order.
    void select(std::int64_t first, std::int64_t count) {
        std::int64_t at = 0;
        run_count_ = 0;
        each_run(first, count, windows_.out_w,
                 [&](std::int64_t p, std::int64_t row, std::int64_t ow, std::int64_t length) {
            const T* image = windows_.x.data + row / windows_.out_h * windows_.x.stride_n;
            runs_[run_count_++] = {image, row % windows_.out_h, ow, at, shape_.pixels(length)};
            for (std::int64_t i = 0; i < length; ++i)
                pixels_[p + i] = strip() + (at + i * shape_.output) * kTileColumns<T>;
            at += shape_.pixels(length);
        });
    }

    // The panel of tap (t, s) and of the channels from `channel` on; `fresh` where the strip before
    // was of another row of taps, or of other channels.
    RightRows<T> panel(std::int64_t t, std::int64_t s, std::int64_t channel, bool fresh) {
        const std::int64_t place = s % shape_.taps;
        if (fresh || place == 0)
            for (std::int64_t r = 0; r < run_count_; ++r)
                copy(runs_[r], t, s - place, channel);
        return {pixels_, place * shape_.tap * kTileColumns<T>};
    }

private:
    // Neighbouring output pixels of one row, and where their part of the strip begins.
    struct Run {
        const T* image;
        std::int64_t oh, ow, at, pixels;
    };

    T* strip() const { return space_.template as<T>(); }
    std::int64_t most_pixels() const {
        const std::int64_t runs = windows_.out_w ? kCapacity / windows_.out_w + 2 : 0;
        return kCapacity * shape_.output + runs * shape_.pixels(1);
    }

    void copy(const Run& run, std::int64_t t, std::int64_t s, std::int64_t channel) const {
        const Windows<T>& v = windows_;
        const std::int64_t ih = run.oh * v.h.stride + v.h.first + t * v.h.step;
        const std::int64_t iw = run.ow * v.w.stride + v.w.first + s * v.w.step;
        const bool outside = ih < 0 || ih >= v.x.h;
        const std::int64_t begin = outside ? run.pixels : below(iw, 0, run);
        const std::int64_t end = outside ? run.pixels : below(iw, v.x.w, run);
        T* to = strip() + run.at * kTileColumns<T>;
        std::fill_n(to, begin * kTileColumns<T>, T(0));
        const T* from = run.image + ih * v.x.stride_h + (iw + begin * shape_.source) * v.x.stride_w;
        copy_pixels(from + channel, end - begin, to + begin * kTileColumns<T>);
        std::fill_n(to + end * kTileColumns<T>, (run.pixels - end) * kTileColumns<T>, T(0));
    }

    void copy_pixels(const T* from, std::int64_t count, T* to) const {
        const std::int64_t step = shape_.source * windows_.x.stride_w;
        for (std::int64_t i = 0; i < count; ++i, from += step, to += kTileColumns<T>)
            std::memcpy(to, from, kTileColumns<T> * sizeof(T));
    }

    // Of a run's part of the strip, which begins at image column iw.
    std::int64_t below(std::int64_t iw, std::int64_t limit, const Run& run) const {
        return positions_below(iw, limit, shape_.source, run.pixels);
    }

    Windows<T> windows_;
    StripShape shape_;
    Workspace space_;
    Run runs_[kCapacity];
    const T* pixels_[kCapacity];
    std::int64_t run_count_ = 0;
};

}  // namespace
}  // namespace babygrad::BABYGRAD_TARGET
