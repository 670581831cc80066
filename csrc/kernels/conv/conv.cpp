// Chooses how a convolution is computed: 1x1 with stride 1 as a plain GEMM, depthwise directly, 3x3
// with stride 1 by Winograd's filtering where there are pixels enough, and the rest as an indirect
// GEMM; the input gradient as one convolution of gy for each phase of the stride, so that no array is
// dilated with zeros.
#include "kernels/conv/conv.h"

#include "kernels/conv/conv_core.h"
#include "kernels/gemm/gemm_core.h"
#include "kernels/gemm/pack.h"
#include "runtime/threads.h"

namespace babygrad::BABYGRAD_TARGET {
namespace {

template <class T>
constexpr std::int64_t kItem = sizeof(T);

template <class T>
Image<T> image_of(const View& v) {
    return {reinterpret_cast<T*>(v.data), v.shape[0], v.shape[1], v.shape[2], v.shape[3],
            v.strides[0] / kItem<T>, v.strides[1] / kItem<T>, v.strides[2] / kItem<T>};
}

// src is [c][w], dst [w][c] dense.
template <class T>
void transpose_row(const T* src, std::int64_t stride_c, std::int64_t stride_w, std::int64_t c,
                   std::int64_t w, T* dst) {
    constexpr std::int64_t square = 16 / kItem<T>;
    std::int64_t i = 0;
    for (; stride_w == 1 && i + square <= w; i += square) {
        std::int64_t j = 0;
        for (; j + square <= c; j += square)
            transpose_square(src + j * stride_c + i, stride_c, dst + i * c + j, c);
        for (; j < c; ++j)
            for (std::int64_t p = i; p < i + square; ++p) dst[p * c + j] = src[j * stride_c + p];
    }
    for (; i < w; ++i)
        for (std::int64_t j = 0; j < c; ++j) dst[i * c + j] = src[j * stride_c + i * stride_w];
}

// An operand with its channels adjacent: in place where they are, else one copy.
template <class T>
class ChannelsLast {
public:
    explicit ChannelsLast(const View& v) : image_(image_of<const T>(v)), copy_(copy_bytes(v)) {
        if (in_place(v)) return;
        count_layout_copy();
        const Image<const T> from = image_;
        const std::int64_t stride_c = v.strides[3] / kItem<T>, row = from.w * from.c;
        image_ = {copy_.as<T>(), from.n, from.h, from.w, from.c, from.h * row, row, from.c};
        parallel_ranges(from.n * from.h, ceil_div(32768, row),
                        [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t i = begin; i < end; ++i)
                transpose_row(from.data + i / from.h * from.stride_n + i % from.h * from.stride_h,
                              stride_c, from.stride_w, from.c, from.w, copy_.as<T>() + i * row);
        });
    }
    const Image<const T>& image() const { return image_; }

private:
    static bool in_place(const View& v) {
        return v.shape[3] <= 1 || v.strides[3] == kItem<T> || size_of(v) == 0;
    }
    static std::size_t copy_bytes(const View& v) {
        return in_place(v) ? 0 : static_cast<std::size_t>(size_of(v)) * sizeof(T);
    }

    Image<const T> image_;
    Workspace copy_;
};

// All pixels one distance apart, so that the image is a matrix (pixels, channels).
template <class T>
bool is_matrix(const Image<T>& x) {
    return (x.h == 1 || x.stride_h == x.w * x.stride_w) &&
           (x.n == 1 || x.stride_n == x.h * x.w * x.stride_w);
}

template <class T>
struct WeightStrides {
    std::int64_t h, w, in, out;
    explicit WeightStrides(const View& v)
        : h(v.strides[0] / kItem<T>),
          w(v.strides[1] / kItem<T>),
          in(v.strides[2] / kItem<T>),
          out(v.strides[3] / kItem<T>) {}
};

bool is_pointwise(const View& w, const ConvGeometry& g, const View& x, const View& y) {
    return w.shape[0] == 1 && w.shape[1] == 1 && g.groups == 1 && g.stride[0] == 1 &&
           g.stride[1] == 1 && g.padding[0] == 0 && g.padding[1] == 0 && x.shape[1] == y.shape[1] &&
           x.shape[2] == y.shape[2];
}

bool is_depthwise(const View& x, const View& y, const ConvGeometry& g) {
    return g.groups > 1 && x.shape[3] == g.groups && y.shape[3] == g.groups;
}

TapAxis forward_axis(const View& w, const ConvGeometry& g, int axis) {
    return {w.shape[axis], -g.padding[axis], g.dilation[axis], g.stride[axis]};
}

template <class T>
void conv(const ConvProblem<T>& c, bool depthwise) {
    if (depthwise)
        depthwise_conv(c);
    else if (!winograd_conv(c))
        indirect_conv(c);
}

template <class T>
void forward_as(const View& x_view, const View& w, const View* b, const ConvGeometry& g,
                const View& y_view) {
    const ChannelsLast<T> source(x_view);
    const Image<const T>& x = source.image();
    const Image<T> y = image_of<T>(y_view);
    const WeightStrides<T> s(w);
    const T* weights = reinterpret_cast<const T*>(w.data);
    const std::int64_t outputs = y.c;
    Workspace bias_space(b ? static_cast<std::size_t>(outputs) * sizeof(T) : 0);
    T* bias = b ? bias_space.as<T>() : nullptr;
    for (std::int64_t o = 0; b && o < outputs; ++o)
        bias[o] = *reinterpret_cast<const T*>(b->data + o * b->strides[0]);
    if (is_pointwise(w, g, x_view, y_view) && is_matrix(x))
        return gemm(Gemm<T>{x.n * x.h * x.w, outputs, x.c, x.data, x.stride_w, 1, weights, s.in,
                            s.out, y.data, y.c, bias});
    conv(ConvProblem<T>{x, forward_axis(w, g, 0), forward_axis(w, g, 1), g.groups,
                         {weights, s.h, s.w, s.in, s.out, outputs / g.groups * s.out},
                         bias, y},
         is_depthwise(x_view, y_view, g));
}

// The taps that reach the inputs phase, phase + stride, ... of one axis: every `period`-th, the
// last one first, because a later tap of the kernel reads an earlier output.
struct Phase {
    TapAxis axis;
    std::int64_t last, period, size;
};

Phase input_phase(std::int64_t kernel, const ConvGeometry& g, int axis, std::int64_t phase,
                  std::int64_t inputs) {
    const std::int64_t stride = g.stride[axis], dilation = g.dilation[axis];
    const std::int64_t position = phase + g.padding[axis];
    Phase p{{0, 0, 0, 1}, 0, 1, phase < inputs ? ceil_div(inputs - phase, stride) : 0};
    while (p.period * dilation % stride) ++p.period;
    for (std::int64_t k = 0; k < kernel; ++k) {
        if ((position - k * dilation) % stride) continue;
        ++p.axis.taps;
        p.last = k;
    }
    if (p.axis.taps) p.axis.first = (position - p.last * dilation) / stride;
    p.axis.step = p.period * dilation / stride;
    return p;
}

template <class T>
void input_grad_as(const View& gy_view, const View& w, const ConvGeometry& g,
                   const View& gx_view) {
    const ChannelsLast<T> source(gy_view);
    const Image<const T>& gy = source.image();
    const Image<T> gx = image_of<T>(gx_view);
    const WeightStrides<T> s(w);
    const T* weights = reinterpret_cast<const T*>(w.data);
    if (is_pointwise(w, g, gx_view, gy_view) && is_matrix(gy))
        return gemm(Gemm<T>{gy.n * gy.h * gy.w, gx.c, gy.c, gy.data, gy.stride_w, 1, weights, s.out,
                            s.in, gx.data, gx.c});
    if (few_channels_input_grad(
            InputGrad<T>{gy,
                         {weights, s.h, s.w, s.in, s.out, 0},
                         {w.shape[0], w.shape[1]},
                         g,
                         gx}))
        return;
    for (std::int64_t i = 0; i < g.stride[0] && i < gx.h; ++i)
        for (std::int64_t j = 0; j < g.stride[1] && j < gx.w; ++j) {
            const Phase h = input_phase(w.shape[0], g, 0, i, gx.h);
            const Phase v = input_phase(w.shape[1], g, 1, j, gx.w);
            const Image<T> part{gx.data + i * gx.stride_h + j * gx.stride_w,
                                gx.n,
                                h.size,
                                v.size,
                                gx.c,
                                gx.stride_n,
                                gx.stride_h * g.stride[0],
                                gx.stride_w * g.stride[1]};
            const Weights<const T> taps{weights + h.last * s.h + v.last * s.w,
                                        -h.period * s.h,
                                        -v.period * s.w,
                                        s.out,
                                        s.in,
                                        gy.c / g.groups * s.out};
            conv(ConvProblem<T>{gy, h.axis, v.axis, g.groups, taps, nullptr, part},
                 is_depthwise(gx_view, gy_view, g));
        }
}

template <class T>
void weight_grad_as(const View& gy_view, const View& x_view, const ConvGeometry& g,
                    const View& gw) {
    const ChannelsLast<T> x_source(x_view), gy_source(gy_view);
    const Image<const T>&x = x_source.image(), &gy = gy_source.image();
    const WeightStrides<T> s(gw);
    T* out = reinterpret_cast<T*>(gw.data);
    const bool matrices = is_matrix(x) && is_matrix(gy) && is_pointwise(gw, g, x_view, gy_view);
    if (matrices && s.out == 1)
        return gemm(Gemm<T>{x.c, gy.c, x.n * x.h * x.w, x.data, 1, x.stride_w, gy.data, gy.stride_w,
                            1, out, s.in});
    if (matrices && s.in == 1)
        return gemm(Gemm<T>{gy.c, x.c, x.n * x.h * x.w, gy.data, 1, gy.stride_w, x.data, x.stride_w,
                            1, out, s.out});
    const IndirectWeightGrad<T> conv{
        x,        forward_axis(gw, g, 0),
        forward_axis(gw, g, 1),
        g.groups, gy,
        Weights<T>{out, s.h, s.w, s.in, s.out, gy.c / g.groups * s.out}};
    if (is_depthwise(x_view, gy_view, g))
        depthwise_weight_grad(conv);
    else if (!winograd_weight_grad(conv))
        indirect_weight_grad(conv);
}

void forward(const View& x, const View& w, const View* b, const ConvGeometry& geometry,
             const View& y) {
    if (x.dtype == DType::f32)
        forward_as<float>(x, w, b, geometry, y);
    else
        forward_as<double>(x, w, b, geometry, y);
}

void input_grad(const View& gy, const View& w, const ConvGeometry& geometry, const View& gx) {
    if (gy.dtype == DType::f32)
        input_grad_as<float>(gy, w, geometry, gx);
    else
        input_grad_as<double>(gy, w, geometry, gx);
}

void weight_grad(const View& gy, const View& x, const ConvGeometry& geometry, const View& gw) {
    if (gy.dtype == DType::f32)
        weight_grad_as<float>(gy, x, geometry, gw);
    else
        weight_grad_as<double>(gy, x, geometry, gw);
}

}  // namespace

void fill(ConvKernels& table) { table = {forward, input_grad, weight_grad}; }

}  // namespace babygrad::BABYGRAD_TARGET
