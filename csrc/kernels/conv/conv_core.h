// What the convolution's sources share: the problem in terms of pixels, taps and weights.
#pragma once

#include <cstdint>

#include "kernels/conv/conv.h"
#include "kernels/conv/conv_windows.h"

namespace babygrad::BABYGRAD_TARGET {

// Weight of tap (i, j), input channel c and output channel o of group g:
// data[i * tap_h + j * tap_w + c * channel + o * output + g * group]. Strides in elements.
template <class T>
struct Weights {
    T* data;
    std::int64_t tap_h, tap_w, channel, output, group;
};

// y = convolution of the pixels that `h` and `w` select; y's size is the grid of output pixels.
template <class T>
struct ConvProblem {
    Image<const T> x;
    TapAxis h, w;
    std::int64_t groups;
    Weights<const T> weights;
    const T* bias;  // y.c values or null
    Image<T> y;
};
template <class T>
void indirect_conv(const ConvProblem<T>& conv);
// The same for 3x3 taps with stride 1; false where it does not apply or would take longer.
template <class T>
bool winograd_conv(const ConvProblem<T>& conv);

// gx = the gradient of a convolution's input.
template <class T>
struct InputGrad {
    Image<const T> gy;
    Weights<const T> weights;  // `channel` and `output` as in the forward convolution
    std::int64_t kernel[2];
    ConvGeometry geometry;
    Image<T> gx;
};
// For gx of at most kFewChannels channels; false where it does not apply.
constexpr std::int64_t kFewChannels = 4;
template <class T>
bool few_channels_input_grad(const InputGrad<T>& grad);

// gw[i, j, c, o, g] = sum over output pixels of x's window times gy.
template <class T>
struct IndirectWeightGrad {
    Image<const T> x;
    TapAxis h, w;
    std::int64_t groups;
    Image<const T> gy;
    Weights<T> gw;
};
template <class T>
void indirect_weight_grad(const IndirectWeightGrad<T>& conv);
// As winograd_conv.
template <class T>
bool winograd_weight_grad(const IndirectWeightGrad<T>& conv);

// One input channel per group; y.c / x.c output channels each.
template <class T>
void depthwise_conv(const ConvProblem<T>& conv);
template <class T>
void depthwise_weight_grad(const IndirectWeightGrad<T>& conv);

}  // namespace babygrad::BABYGRAD_TARGET
