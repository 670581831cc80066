// Forward convolution and input gradient as one indirect GEMM: rows are output pixels, read in
// place through the window table; columns are output channels; the inner axis is (tap, channel).
//
// Policy: that of the GEMM core (gemm_core.h). The weights are packed once per call; blocks of
// pixels are independent tasks whose size depends on the problem alone.
#include <algorithm>

#include "kernels/conv/conv_core.h"
#include "kernels/conv/conv_weight_panel.h"
#include "kernels/gemm/gemm_core.h"
#include "kernels/gemm/pack.h"
#include "runtime/threads.h"

namespace babygrad::BABYGRAD_TARGET {
namespace {

constexpr double kTaskWork = 1e6;     // multiply-adds; about 20 us at the peak
constexpr double kSerialWork = 256e3;
constexpr std::int64_t kMinTasks = 8;  // worth splitting the output channels for

// Where row k of panel p of the packed weights starts: at[k] + p * step[k].
struct PackedRow {
    std::int64_t at, step;
};

// Packed weights: group, inner block, panel, inner index, column.
template <class T>
struct PackedWeights {
    const Weights<const T>& weights;
    std::int64_t taps_h, taps_w, channels, outputs, panels;
    InnerBlocks blocks;
    PackedRow* rows;

    std::int64_t taps() const { return taps_h * taps_w; }
    std::int64_t inner() const { return taps() * channels; }
    std::int64_t group_size() const { return inner() * panels * kTileColumns<T>; }
    std::int64_t panel_at(std::int64_t group, const InnerBlock& block, std::int64_t panel) const {
        const PackedRow& first = rows[blocks.start(block)];
        return group * group_size() + first.at + panel * first.step;
    }

    void find_rows() const {
        blocks.each([&](const InnerBlock& block) {
            const std::int64_t start = blocks.start(block);
            for (std::int64_t k = 0; k < block.size(); ++k)
                rows[start + k] = {(start * panels + k) * kTileColumns<T>,
                                   block.size() * kTileColumns<T>};
        });
    }

    void pack(T* packed, std::int64_t group, std::int64_t panel) const {
        T* const out = packed + group * group_size();
        WeightPanel<T>(weights, taps_h, taps_w, channels, outputs, group, panel)
            .pack([&](std::int64_t tap, std::int64_t channel) {
            const PackedRow& row = rows[tap * channels + channel];
            return out + row.at + panel * row.step;
        });
    }
};

template <class T>
struct ConvTask {
    const ConvProblem<T>& conv;
    const Windows<T>& windows;
    const PackedWeights<T>& weights;
    const T* packed;

    // Output pixels [begin, end), column panels [panel, panel_end) of each group.
    void run(std::int64_t begin, std::int64_t end, std::int64_t panel,
             std::int64_t panel_end) const {
        WindowTable<T> table(windows, std::min(kBlockPixels, end - begin));
        T* y_rows[kBlockPixels];
        for (std::int64_t p = begin; p < end; p += kBlockPixels) {
            const std::int64_t count = std::min(kBlockPixels, end - p);
            table.fill(p, count);
            pixel_pointers(conv.y, p, count, y_rows);
            for (std::int64_t g = 0; g < conv.groups; ++g)
                weights.blocks.each([&](const InnerBlock& block) {
                    for (std::int64_t j = panel; j < panel_end; ++j)
                        multiply(table, y_rows, count, g, block, j);
                });
        }
    }

    void multiply(const WindowTable<T>& table, T* const* y_rows, std::int64_t count,
                  std::int64_t group, const InnerBlock& block, std::int64_t panel) const {
        const std::int64_t j = panel * kTileColumns<T>, width = weights.outputs - j;
        const std::int64_t column = group * weights.outputs + j;
        const bool first = block.segment == 0 && block.offset == 0;
        const RightPanel<T> right{packed + weights.panel_at(group, block, panel), kTileColumns<T>};
        const T* bias = first && conv.bias ? conv.bias + column : nullptr;
        const T* const* rows = table.at(block.segment);
        const std::int64_t offset = group * windows.channels + block.offset;
        each_tile(count, [&](std::int64_t i, int height) {
            any_tile(height, width,
                     LeftRows<T>{rows + i, table.stride(), block.segments, offset, block.length},
                     right, OutRows<T>{y_rows + i, column, bias, !first});
        });
    }
};

// The size of equal parts of n, each a multiple of `unit` and about `limit`.
std::int64_t even_part(std::int64_t n, std::int64_t limit, std::int64_t unit) {
    return ceil_div(ceil_div(n, ceil_div(n, limit)), unit) * unit;
}

// No taps or no channels: y = bias.
template <class T>
void fill_bias(const ConvProblem<T>& conv) {
    const Image<T>& y = conv.y;
    for (std::int64_t n = 0; n < y.n; ++n)
        for (std::int64_t h = 0; h < y.h; ++h)
            for (std::int64_t w = 0; w < y.w; ++w) {
                T* out = y.data + n * y.stride_n + h * y.stride_h + w * y.stride_w;
                for (std::int64_t c = 0; c < y.c; ++c) out[c] = conv.bias ? conv.bias[c] : T(0);
            }
}

}  // namespace

template <class T>
void indirect_conv(const ConvProblem<T>& conv) {
    const Windows<T> windows(conv.x, conv.h, conv.w, conv.y.h, conv.y.w, conv.groups);
    const std::int64_t inner = windows.segments * windows.length, pixels = windows.pixels();
    if (pixels == 0 || conv.y.c == 0) return;
    if (inner == 0) return fill_bias(conv);
    const std::int64_t outputs = conv.y.c / conv.groups;
    Workspace rows_space(static_cast<std::size_t>(inner) * sizeof(PackedRow));
    const PackedWeights<T> weights{conv.weights,
                                   conv.h.taps,
                                   conv.w.taps,
                                   windows.channels,
                                   outputs,
                                   ceil_div(outputs, kTileColumns<T>),
                                   InnerBlocks(windows.segments, windows.length),
                                   rows_space.as<PackedRow>()};
    weights.find_rows();
    Workspace packed_space(static_cast<std::size_t>(weights.group_size() * conv.groups) *
                           sizeof(T));
    T* packed = packed_space.as<T>();
    const std::int64_t grain = std::max<std::int64_t>(1, 32768 / (inner * kTileColumns<T>));
    parallel_ranges(conv.groups * weights.panels, grain,
                    [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i)
            weights.pack(packed, i / weights.panels, i % weights.panels);
    });
    const double pixel_work = static_cast<double>(inner) * static_cast<double>(conv.y.c);
    const double work = pixel_work * static_cast<double>(pixels);
    std::int64_t rows = pixels, parts = 1;
    if (work > kSerialWork) {
        const std::int64_t blocks = ceil_div(
            std::max<std::int64_t>(1, static_cast<std::int64_t>(kTaskWork / pixel_work)),
            kBlockPixels);
        rows = even_part(pixels, blocks * kBlockPixels, kTileRows);
        parts = std::min(weights.panels, ceil_div(kMinTasks, ceil_div(pixels, rows)));
    }
    const std::int64_t part_panels = ceil_div(weights.panels, parts);
    parts = ceil_div(weights.panels, part_panels);
    const ConvTask<T> task{conv, windows, weights, packed};
    parallel_for(ceil_div(pixels, rows) * parts, [&](std::int64_t i) {
        const std::int64_t begin = i / parts * rows, panel = i % parts * part_panels;
        task.run(begin, std::min(pixels, begin + rows), panel,
                 std::min(weights.panels, panel + part_panels));
    });
}

template void indirect_conv(const ConvProblem<float>&);
template void indirect_conv(const ConvProblem<double>&);

}  // namespace babygrad::BABYGRAD_TARGET
