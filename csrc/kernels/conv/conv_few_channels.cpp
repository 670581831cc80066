// The input gradient of a first layer, whose few channels would leave most of a tile's columns
// empty: every output pixel's products with all weights as one GEMM, whose columns are (tap,
// channel), and their overlapping sums into the input, a band of rows at a time.
//
// Policy: gemm_core.h for the products; the taps of an input pixel are added in the order of the
// output pixels. A band recomputes the output rows that it shares with its neighbours, so that no
// two tasks write to one place and the bits do not depend on the threads.
#include <algorithm>

#include "kernels/conv/conv_core.h"
#include "kernels/gemm/gemm_core.h"
#include "runtime/threads.h"

namespace babygrad::BABYGRAD_TARGET {
namespace {

constexpr std::int64_t kProductPixels = 192;  // output pixels of one GEMM
constexpr double kBandWork = 1e6;           // multiply-adds of one task

template <class T>
struct ScatterGrad {
    const InputGrad<T>& grad;
    const T* weights;  // (O, KH, KW, C), dense
    std::int64_t columns;

    // Output rows [begin, end) that reach input rows [first, last).
    std::int64_t rows_begin(std::int64_t first) const {
        const ConvGeometry& g = grad.geometry;
        const std::int64_t reach =
            first + g.padding[0] - (grad.kernel[0] - 1) * g.dilation[0];
        return reach <= 0 ? 0 : ceil_div(reach, g.stride[0]);
    }
    std::int64_t rows_end(std::int64_t last) const {
        const ConvGeometry& g = grad.geometry;
        return std::min(grad.gy.h, (last - 1 + g.padding[0]) / g.stride[0] + 1);
    }

    void band(std::int64_t image, std::int64_t first, std::int64_t last) const {
        const Image<T>& gx = grad.gx;
        T* const out = gx.data + image * gx.stride_n;
        std::fill_n(out + first * gx.stride_h, (last - first) * gx.stride_h, T(0));
        const std::int64_t height = std::max<std::int64_t>(1, kProductPixels / grad.gy.w);
        Workspace space(static_cast<std::size_t>(height * grad.gy.w * columns) * sizeof(T));
        T* products = space.as<T>();
        const std::int64_t end = rows_end(last);
        for (std::int64_t row = rows_begin(first); row < end; row += height) {
            const std::int64_t rows = std::min(height, end - row);
            gemm_serial(Gemm<T>{rows * grad.gy.w, columns, grad.gy.c,
                                grad.gy.data + image * grad.gy.stride_n + row * grad.gy.stride_h,
                                grad.gy.stride_w, 1, weights, columns, 1, products, columns});
            for (std::int64_t r = 0; r < rows; ++r)
                scatter_row(out, row + r, first, last, products + r * grad.gy.w * columns);
        }
    }

    void scatter_row(T* out, std::int64_t row, std::int64_t first, std::int64_t last,
                     const T* products) const {
        const ConvGeometry& g = grad.geometry;
        for (std::int64_t i = 0; i < grad.kernel[0]; ++i) {
            const std::int64_t h = row * g.stride[0] - g.padding[0] + i * g.dilation[0];
            if (h < first || h >= last) continue;
            for (std::int64_t j = 0; j < grad.kernel[1]; ++j) {
                const std::int64_t w = j * g.dilation[1] - g.padding[1];
                const std::int64_t begin = w >= 0 ? 0 : ceil_div(-w, g.stride[1]);
                const std::int64_t end =
                    w >= grad.gx.w ? 0 : std::min(grad.gy.w, (grad.gx.w - 1 - w) / g.stride[1] + 1);
                if (begin >= end) continue;
                const std::int64_t c = grad.gx.c;
                add_tap(out + h * grad.gx.stride_h + (w + begin * g.stride[1]) * c,
                        g.stride[1] * c,
                        products + begin * columns + (i * grad.kernel[1] + j) * c, end - begin);
            }
        }
    }

    void add_tap(T* out, std::int64_t step, const T* products, std::int64_t count) const {
        switch (grad.gx.c) {
            case 1: return add_channels<1>(out, step, products, count);
            case 2: return add_channels<2>(out, step, products, count);
            case 3: return add_channels<3>(out, step, products, count);
            default: return add_channels<4>(out, step, products, count);
        }
    }
    template <int Channels>
    void add_channels(T* out, std::int64_t step, const T* products, std::int64_t count) const {
        for (std::int64_t p = 0; p < count; ++p, out += step, products += columns)
            for (int c = 0; c < Channels; ++c) out[c] += products[c];
    }
};

}  // namespace

template <class T>
bool few_channels_input_grad(const InputGrad<T>& grad) {
    const Image<const T>& gy = grad.gy;
    const Weights<const T>& w = grad.weights;
    const std::int64_t channels = grad.gx.c;
    if (channels == 0 || channels > kFewChannels || grad.geometry.groups != 1 || gy.w == 0 ||
        gy.stride_h != gy.w * gy.stride_w)
        return false;
    if (grad.gx.n * grad.gx.h * grad.gx.w == 0) return true;
    const std::int64_t columns = grad.kernel[0] * grad.kernel[1] * channels;
    Workspace space(static_cast<std::size_t>(columns * gy.c) * sizeof(T));
    T* weights = space.as<T>();
    T* to = weights;
    for (std::int64_t o = 0; o < gy.c; ++o)
        for (std::int64_t i = 0; i < grad.kernel[0]; ++i)
            for (std::int64_t j = 0; j < grad.kernel[1]; ++j)
                for (std::int64_t c = 0; c < channels; ++c)
                    *to++ = w.data[i * w.tap_h + j * w.tap_w + c * w.channel + o * w.output];
    const ScatterGrad<T> task{grad, weights, columns};
    const double row_work = static_cast<double>(gy.w * gy.c * columns) *
                            static_cast<double>(gy.h) / static_cast<double>(grad.gx.h);
    const std::int64_t halo = grad.kernel[0] * grad.geometry.dilation[0];
    const std::int64_t rows = std::min(
        grad.gx.h, std::max(8 * halo, static_cast<std::int64_t>(kBandWork / (row_work + 1)) + 1));
    const std::int64_t bands = ceil_div(grad.gx.h, rows);
    const std::int64_t least = std::max<std::int64_t>(
        1, static_cast<std::int64_t>(kBandWork / 4 / (row_work * static_cast<double>(rows) + 1)));
    parallel_ranges(gy.n * bands, least, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
            const std::int64_t first = i % bands * rows;
            task.band(i / bands, first, std::min(first + rows, grad.gx.h));
        }
    });
    return true;
}

template bool few_channels_input_grad(const InputGrad<float>&);
template bool few_channels_input_grad(const InputGrad<double>&);

}  // namespace babygrad::BABYGRAD_TARGET
