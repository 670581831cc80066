// Forward convolution and input gradient of a 3x3 kernel with stride 1 by Winograd's minimal
// filtering: patches of the input and the weights are transformed, multiplied as 16 matrices by the
// micro-kernel of the GEMM core, and the products transformed back, a panel of output channels at a
// time, so that they stay in L1 and L2.
//
// Policy: that of conv_winograd.h. Blocks of tiles and groups of panels are independent tasks, whose
// size depends on the problem alone; a tile's result does not depend on its block.
#include <algorithm>

#include "kernels/conv/conv_core.h"
#include "kernels/conv/conv_weight_panel.h"
#include "kernels/conv/conv_winograd.h"
#include "kernels/gemm/gemm_core.h"
#include "kernels/gemm/pack.h"

namespace babygrad::BABYGRAD_TARGET {
namespace {

// The transformed patches of a block stay in L2 beside the weights.
constexpr std::int64_t kPatchBytes = 128 << 10;
constexpr std::int64_t kMinTiles = 24, kMaxTiles = 48;
static_assert(kMaxTiles <= kMostTiles, "what `fits` counts with");
constexpr double kTaskWork = 256e3;  // multiply-adds
constexpr std::int64_t kMinTasks = 8;

// Of the tiles of all images: those of a block, which is transformed at once, and of a task; of the
// panels, those of a task.
struct TileSplit {
    std::int64_t block, range, panels;

    TileSplit(const WinogradShape& shape, std::int64_t patch_bytes) {
        const std::int64_t tiles = shape.tiles();
        const double tile_work = static_cast<double>(kProducts * shape.groups * shape.channels) *
                                 static_cast<double>(shape.outputs);
        const std::int64_t wanted = std::clamp<std::int64_t>(
            static_cast<std::int64_t>(tile_work * static_cast<double>(tiles) / kTaskWork), 1, kMinTasks);
        const std::int64_t limit = std::clamp(kPatchBytes / patch_bytes, kMinTiles, kMaxTiles);
        const std::int64_t blocks =
            std::max(ceil_div(tiles, limit), std::min(wanted, ceil_div(tiles, kMinTiles)));
        block = ceil_div(tiles, even_blocks(blocks));
        range = block * std::max<std::int64_t>(
                            1, static_cast<std::int64_t>(
                                   kTaskWork / (tile_work * static_cast<double>(block))));
        panels = ceil_div(shape.panels,
                          std::min(shape.panels, ceil_div(wanted, ceil_div(tiles, range))));
    }
};

template <class T>
struct WinogradConv {
    static constexpr std::int64_t n = kTileColumns<T>;

    const ConvProblem<T>& conv;
    WinogradShape shape;
    std::int64_t row;  // elements of a transformed patch in one product
    TileSplit split;
    Workspace weights, zeros;

    WinogradConv(const ConvProblem<T>& c, const WinogradShape& s)
        : conv(c), shape(s), row(whole_vectors<T>(s.channels)),
          split(s, kProducts * row * static_cast<std::int64_t>(sizeof(T))),
          weights(static_cast<std::size_t>(c.groups * s.panels * kProducts * weight_plane()) *
                  sizeof(T)),
          zeros(static_cast<std::size_t>(c.x.c) * sizeof(T)) {
        std::fill_n(zeros.as<T>(), c.x.c, T(0));
    }

    std::int64_t weight_plane() const { return plane_size<T>(shape.channels * n); }
    // Product p of a panel of the weights: [channels][n].
    T* panel(std::int64_t group, std::int64_t j, std::int64_t p) const {
        return weights.as<T>() + ((group * shape.panels + j) * kProducts + p) * weight_plane();
    }

    void transform_weights() const {
        const std::int64_t channels = shape.channels;
        parallel_ranges(conv.groups * shape.panels, std::max<std::int64_t>(1, 4096 / (channels * n)),
                        [&](std::int64_t begin, std::int64_t end) {
            Workspace space(static_cast<std::size_t>(kTaps * channels * n) * sizeof(T));
            T* const taps = space.as<T>();
            for (std::int64_t i = begin; i < end; ++i) {
                const std::int64_t group = i / shape.panels, j = i % shape.panels;
                WeightPanel<T>(conv.weights, 3, 3, channels, shape.outputs, group, j)
                    .pack([&](std::int64_t tap, std::int64_t channel) {
                    return taps + (tap * channels + channel) * n;
                });
                transform_planes<WeightLine>(taps, channels * n, panel(group, j, 0), weight_plane(),
                                             channels * n);
            }
        });
    }

    void run() const {
        const std::int64_t tiles = shape.tiles(), parts = ceil_div(shape.panels, split.panels);
        parallel_for(ceil_div(tiles, split.range) * parts, [&](std::int64_t i) {
            const std::int64_t begin = i / parts * split.range, j = i % parts * split.panels;
            run_task(begin, std::min(tiles, begin + split.range), j,
                     std::min(shape.panels, j + split.panels));
        });
    }

    // Tiles [begin, end) and panels [first_panel, end_panel) of each group.
    void run_task(std::int64_t begin, std::int64_t end, std::int64_t first_panel,
                  std::int64_t end_panel) const {
        const std::int64_t most = std::min(split.block, end - begin);
        const std::int64_t plane = plane_size<T>(most * row), sums_plane = plane_size<T>(most * n);
        Workspace space(static_cast<std::size_t>(kProducts * (plane + sums_plane) + conv.y.c) *
                        sizeof(T));
        T *const patches = space.as<T>(), *const sums = patches + kProducts * plane;
        const Patches<const T, 4> source{conv.x, conv.h.first, conv.w.first,
                                         shape.tiles_h, shape.tiles_w, zeros.as<T>()};
        const Patches<T, 2> target{conv.y, 0, 0, shape.tiles_h, shape.tiles_w,
                                   sums + kProducts * sums_plane};
        for (std::int64_t i = begin; i < end; i += split.block)
            for (std::int64_t g = 0; g < conv.groups; ++g) {
                const std::int64_t count = std::min(split.block, end - i);
                transform_patches<InputLine>(source, i, count, {g * shape.channels, shape.channels, row},
                                             Products<T>{patches, plane, n, row});
                for (std::int64_t j = first_panel; j < end_panel; ++j) {
                    for (std::int64_t p = 0; p < kProducts; ++p)
                        multiply(patches + p * plane, count, panel(g, j, p), sums + p * sums_plane);
                    write(target, i, count, sums, sums_plane, g, j);
                }
            }
    }

    void multiply(const T* patches, std::int64_t count, const T* right, T* sums) const {
        InnerBlocks(1, shape.channels).each([&](const InnerBlock& inner) {
            const RightPanel<T> rows{right + inner.offset * n, n};
            each_tile(count, [&](std::int64_t i, int height) {
                full_tile(height, LeftMatrix<T>{patches + i * row + inner.offset, row, inner.length},
                          rows, OutMatrix<T>{sums + i * n, n, nullptr, inner.offset > 0});
            });
        });
    }

    // The outputs of panel j.
    void write(const Patches<T, 2>& target, std::int64_t first, std::int64_t count,
               const T* sums, std::int64_t plane, std::int64_t group, std::int64_t j) const {
        const std::int64_t column = group * shape.outputs + j * n;
        const std::int64_t width = std::min(n, shape.outputs - j * n);
        target.each(first, count, [&](std::int64_t i, T* const* at) {
            for (std::int64_t lane = 0; lane < width; lane += kLanes<T>) {
                Vec<T> products[kProducts], y[4], bias{};
                for (int p = 0; p < kProducts; ++p)
                    products[p] = load(sums + p * plane + i * n + lane);
                transform<OutputLine>(products, y);
                if (conv.bias) bias = load_some(conv.bias + column + lane, width - lane);
                for (int p = 0; p < 4; ++p)
                    store_some(at[p] + column + lane, y[p] + bias, width - lane);
            }
        });
    }
};

}  // namespace

template <class T>
bool winograd_conv(const ConvProblem<T>& conv) {
    const WinogradShape shape =
        WinogradShape::of(conv.x, conv.groups, conv.y.h, conv.y.w, conv.y.c);
    const std::int64_t pixels = conv.y.n * conv.y.h * conv.y.w;
    if (!shape.fits<T>(conv.h, conv.w, 1) || !shape.pays<T>(pixels, shape.panels * kTileColumns<T>))
        return false;
    const WinogradConv<T> task(conv, shape);
    task.transform_weights();
    task.run();
    return true;
}

template bool winograd_conv(const ConvProblem<float>&);
template bool winograd_conv(const ConvProblem<double>&);

}  // namespace babygrad::BABYGRAD_TARGET
