// The weight gradient of a 3x3 kernel with stride 1 by Winograd's minimal filtering: patches of x and
// tiles of gy are transformed, multiplied as 16 matrices whose inner axis is the tiles, and the sums
// transformed back once.
#include "kernels/conv/conv_weight_grad.h"
#include "kernels/conv/conv_winograd.h"

namespace babygrad::BABYGRAD_TARGET {
namespace {

constexpr std::int64_t kCopyChannels = 16;  // the taps of as many and of a panel come to 9 KB

// Rows are (product, channel), columns output channels.
template <class T>
struct WinogradWeightGrad : WeightGrad<T> {
    // As fast as 64 and 192, for 32 to 512 channels.
    static constexpr std::int64_t kBlock = kMostTiles, n = kTileColumns<T>;

    WinogradShape shape;
    std::int64_t row;

    WinogradWeightGrad(const IndirectWeightGrad<T>& grad, const WinogradShape& s)
        : WeightGrad<T>{grad, s.tiles(), WinogradShape::transform_cycles<T>(s.channels), s.outputs,
                        kProducts * s.channels, s.panels},
          shape(s),
          row(whole_vectors<T>(s.channels)) {}

    struct Operands {
        std::int64_t x_plane, gy_plane;
        Workspace space, outside;

        Operands(const WinogradWeightGrad& task, std::int64_t tiles)
            : x_plane(plane_size<T>(tiles * task.row)),
              gy_plane(plane_size<T>(tiles * task.row_size())),
              space(static_cast<std::size_t>(kProducts * (x_plane + gy_plane)) * sizeof(T)),
              outside(static_cast<std::size_t>(task.outside_size()) * sizeof(T)) {
            std::fill_n(outside.as<T>(), task.outside_size(), T(0));
        }
        T* x() const { return space.as<T>(); }
        T* gy() const { return space.as<T>() + kProducts * x_plane; }
    };
    std::int64_t outside_size() const { return std::max(this->conv.x.c, this->conv.gy.c); }

    void add_block(Operands& operands, std::int64_t first, std::int64_t count, std::int64_t panel,
                   std::int64_t panel_end, bool accumulate, T* out) const {
        const auto& conv = this->conv;
        const T* zeros = operands.outside.template as<T>();
        const Patches<const T, 4> x{conv.x, conv.h.first, conv.w.first,
                                    shape.tiles_h, shape.tiles_w, zeros};
        const Patches<const T, 2> gy{conv.gy, 0, 0, shape.tiles_h, shape.tiles_w, zeros};
        const std::int64_t column = panel * n;
        const std::int64_t width = std::min(this->outputs, panel_end * n) - column;
        for (std::int64_t g = 0; g < conv.groups; ++g) {
            transform_patches<InputLine>(x, first, count, {g * shape.channels, shape.channels, row},
                                         Products<T>{operands.x(), operands.x_plane, n, row});
            transform_patches<OutputGradLine>(
                gy, first, count, {g * this->outputs + column, width, (panel_end - panel) * n},
                Products<T>{operands.gy(), operands.gy_plane, count * n, n});
            for (std::int64_t p = 0; p < kProducts; ++p)
                for (std::int64_t j = panel; j < panel_end; ++j)
                    multiply(operands.x() + p * operands.x_plane, count,
                             operands.gy() + p * operands.gy_plane + (j - panel) * count * n,
                             accumulate,
                             out + (g * this->rows + p * shape.channels) * this->row_size() + j * n);
        }
    }

    void multiply(const T* x, std::int64_t count, const T* gy, bool accumulate, T* out) const {
        const std::int64_t pitch = this->row_size();
        each_tile(shape.channels, [&](std::int64_t i, int height) {
            full_tile(height, LeftStrided<T>{x + i, row, count}, RightPanel<T>{gy, n},
                      OutMatrix<T>{out + i * pitch, pitch, nullptr, accumulate});
        });
    }

    void copy_out(const T* sums) const {
        const std::int64_t pieces = ceil_div(shape.channels, kCopyChannels);
        parallel_ranges(this->conv.groups * pieces, std::max<std::int64_t>(1, 4 / this->panels),
                        [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t i = begin; i < end; ++i)
                copy_channels(sums + i / pieces * this->rows * this->row_size(),
                              i % pieces * kCopyChannels,
                              this->conv.gw.data + i / pieces * this->conv.gw.group);
        });
    }

    void copy_channels(const T* sums, std::int64_t first, T* gw) const {
        const Weights<T>& to = this->conv.gw;
        const std::int64_t count = std::min(kCopyChannels, shape.channels - first);
        std::int64_t places[kCopyChannels * kTaps];
        for (std::int64_t i = 0; i < count * kTaps; ++i)
            places[i] = (first + i / kTaps) * to.channel + i % kTaps / 3 * to.tap_h + i % 3 * to.tap_w;
        alignas(64) T taps[kCopyChannels * kTaps * n];
        for (std::int64_t o = 0; o < this->outputs; o += n) {
            for (std::int64_t i = 0; i < count; ++i)
                transform_planes<WeightGradLine>(sums + (first + i) * this->row_size() + o,
                                                 shape.channels * this->row_size(),
                                                 taps + i * kTaps * n, n, n);
            scatter_panel(taps, places, count * kTaps, this->outputs - o, to.output,
                          gw + o * to.output);
        }
    }
};

}  // namespace

template <class T>
bool winograd_weight_grad(const IndirectWeightGrad<T>& conv) {
    const WinogradShape shape =
        WinogradShape::of(conv.x, conv.groups, conv.gy.h, conv.gy.w, conv.gy.c);
    // The direct product pads its columns, unless the outputs are its rows (OutputRows).
    constexpr std::int64_t n = kTileColumns<T>;
    const std::int64_t columns = shape.channels % n ? shape.panels * n : shape.outputs;
    const std::int64_t pixels = conv.gy.n * conv.gy.h * conv.gy.w;
    if (!shape.fits<T>(conv.h, conv.w, 2) || !shape.pays<T>(pixels, columns)) return false;
    run_weight_grad<T>(WinogradWeightGrad<T>(conv, shape));
    return true;
}

template bool winograd_weight_grad(const IndirectWeightGrad<float>&);
template bool winograd_weight_grad(const IndirectWeightGrad<double>&);

}  // namespace babygrad::BABYGRAD_TARGET
