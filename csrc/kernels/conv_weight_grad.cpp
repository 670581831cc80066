// The weight gradient as a GEMM whose inner axis is the output pixels: rows are (tap, channel),
// read in place through the window table; columns are the output channels of gy.
//
// Policy: kInnerPixels products are summed in a register, kPieceBlocks of those in a buffer, the
// pieces of one of at most kSlots ranges of pixels in another, and the ranges pairwise; all of it
// depends on the sizes alone.
#include <algorithm>

#include "kernels/conv_core.h"
#include "kernels/pack.h"
#include "threads.h"

namespace babygrad::BABYGRAD_TARGET {
namespace {

constexpr std::int64_t kSlots = 16;
constexpr std::int64_t kSlotBytes = 16 << 20;  // the buffers of all slots
constexpr double kTaskWork = 1e6;              // multiply-adds
constexpr std::int64_t kInnerPixels = 128;  // 8 KB of gy and of x: with 256 they crowd L1
constexpr std::int64_t kPieceBlocks = 16;
constexpr std::int64_t kCopyRows = 144;

template <class T>
struct WeightGradTask {
    const IndirectWeightGrad<T>& conv;
    const Windows<T>& windows;
    std::int64_t outputs, panels;  // of one group

    std::int64_t inner() const { return windows.segments * windows.length; }
    std::int64_t row_size() const { return panels * kTileColumns<T>; }
    std::int64_t buffer_size() const { return conv.groups * inner() * row_size(); }

    const T* pixel(std::int64_t p) const {
        const Image<const T>& gy = conv.gy;
        return gy.data + p / (gy.w * gy.h) * gy.stride_n + p / gy.w % gy.h * gy.stride_h +
               p % gy.w * gy.stride_w;
    }

    // gy's columns [j, j + kTileColumns) of `count` pixels from `first`, as a panel.
    void pack_gy(std::int64_t first, std::int64_t count, std::int64_t column, std::int64_t width,
                 T* out) const {
        for (std::int64_t p = first; p < first + count;) {
            const std::int64_t run = std::min(conv.gy.w - p % conv.gy.w, first + count - p);
            pack_panel(pixel(p) + column, conv.gy.stride_w, std::int64_t{1}, run, width, out);
            out += run * kTileColumns<T>;
            p += run;
        }
    }

    // Sums pixels [begin, end) for panels [panel, panel_end) into `sum`, by way of `piece`.
    void run(std::int64_t begin, std::int64_t end, std::int64_t panel, std::int64_t panel_end,
             T* sum, T* piece) const {
        const std::int64_t capacity = std::min(kInnerPixels, end - begin);
        WindowTable<T> table(windows, capacity);
        Workspace gy_space(static_cast<std::size_t>(capacity * kTileColumns<T>) * sizeof(T));
        for (std::int64_t p = begin; p < end; p += kInnerPixels) {
            const std::int64_t count = std::min(kInnerPixels, end - p);
            const std::int64_t at = (p - begin) / kInnerPixels % kPieceBlocks;
            const bool direct = p - begin < kPieceBlocks * kInnerPixels;
            table.fill(p, count);
            add_block(table, p, count, panel, panel_end, at > 0, direct ? sum : piece,
                      gy_space.template as<T>());
            if (!direct && (at == kPieceBlocks - 1 || p + kInnerPixels >= end))
                add_piece(panel, panel_end, piece, sum);
        }
    }

    void add_block(const WindowTable<T>& table, std::int64_t first, std::int64_t count,
                   std::int64_t panel, std::int64_t panel_end, bool accumulate, T* out,
                   T* gy) const {
        for (std::int64_t g = 0; g < conv.groups; ++g)
            for (std::int64_t j = panel; j < panel_end; ++j) {
                const std::int64_t column = j * kTileColumns<T>;
                pack_gy(first, count, g * outputs + column, outputs - column, gy);
                for (std::int64_t s = 0; s < windows.segments; ++s)
                    multiply(table.at(s), count, g, gy, accumulate,
                             out + (g * inner() + s * windows.length) * row_size() + column);
            }
    }

    void add_piece(std::int64_t panel, std::int64_t panel_end, const T* piece, T* sum) const {
        for (std::int64_t row = 0; row < conv.groups * inner(); ++row)
            for (std::int64_t j = panel * kTileColumns<T>; j < panel_end * kTileColumns<T>; ++j)
                sum[row * row_size() + j] += piece[row * row_size() + j];
    }

    void multiply(const T* const* columns, std::int64_t count, std::int64_t group, const T* gy,
                  bool accumulate, T* out) const {
        T* rows[kTileRows];
        for (std::int64_t i = 0; i < windows.length;) {
            const int height = tile_height(windows.length - i);
            for (int r = 0; r < height; ++r) rows[r] = out + (i + r) * row_size();
            full_tile(height, LeftColumns<T>{columns, group * windows.channels + i, count},
                      RightPanel<T>{gy, kTileColumns<T>}, TileOut<T>{rows, 0, nullptr, accumulate});
            i += height;
        }
    }

    // Sums the buffers pairwise into the first.
    void reduce(T* buffers, std::int64_t slots) const {
        parallel_ranges(buffer_size(), 16384, [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t step = 1; step < slots; step *= 2)
                for (std::int64_t s = 0; s + step < slots; s += 2 * step) {
                    T* a = buffers + s * buffer_size();
                    const T* b = buffers + (s + step) * buffer_size();
                    for (std::int64_t i = begin; i < end; ++i) a[i] += b[i];
                }
        });
    }

    // Hands the sums over in the gradient's own layout, kCopyRows rows (tap, channel) at a time in
    // the order (channel, tap) of the usual layout (O, C, KH, KW): by way of a tile in L1, because
    // the rows are often a power of two apart.
    void copy_out(const T* sums) const {
        const std::int64_t pieces = ceil_div(inner(), kCopyRows);
        parallel_ranges(conv.groups * pieces, std::max<std::int64_t>(1, 64 / panels),
                        [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t i = begin; i < end; ++i)
                copy_rows(sums + i / pieces * inner() * row_size(), i % pieces * kCopyRows,
                          conv.gw.data + i / pieces * conv.gw.group);
        });
    }

    void copy_rows(const T* sums, std::int64_t first, T* gw) const {
        const std::int64_t count = std::min(kCopyRows, inner() - first);
        const std::int64_t taps = conv.h.taps * conv.w.taps;
        const T* from[kCopyRows];
        std::int64_t to[kCopyRows];
        for (std::int64_t i = 0; i < count; ++i) {
            const std::int64_t c = (first + i) / taps, tap = (first + i) % taps;
            from[i] = sums + (tap * windows.channels + c) * row_size();
            to[i] = c * conv.gw.channel + tap / conv.w.taps * conv.gw.tap_h +
                    tap % conv.w.taps * conv.gw.tap_w;
        }
        alignas(64) T tile[kCopyRows * kTileColumns<T>];
        for (std::int64_t o = 0; o < outputs; o += kTileColumns<T>) {
            for (std::int64_t i = 0; i < count; ++i)
                std::copy_n(from[i] + o, kTileColumns<T>, tile + i * kTileColumns<T>);
            const std::int64_t width = std::min<std::int64_t>(kTileColumns<T>, outputs - o);
            for (std::int64_t j = 0; j < width; ++j)
                for (std::int64_t i = 0; i < count; ++i)
                    gw[(o + j) * conv.gw.output + to[i]] = tile[i * kTileColumns<T> + j];
        }
    }
};

}  // namespace

template <class T>
void indirect_weight_grad(const IndirectWeightGrad<T>& conv) {
    const Windows<T> windows(conv.x, conv.h, conv.w, conv.gy.h, conv.gy.w, conv.groups);
    const std::int64_t outputs = conv.gy.c / conv.groups, pixels = windows.pixels();
    const WeightGradTask<T> task{conv, windows, outputs, ceil_div(outputs, kTileColumns<T>)};
    if (task.buffer_size() == 0) return;
    const double work = static_cast<double>(pixels) * static_cast<double>(task.buffer_size());
    std::int64_t slots = std::min({kSlots, ceil_div(pixels, kInnerPixels),
                                   kSlotBytes / static_cast<std::int64_t>(sizeof(T)) /
                                       task.buffer_size(),
                                   static_cast<std::int64_t>(work / kTaskWork)});
    slots = std::max<std::int64_t>(1, slots);
    const std::int64_t wanted =
        std::min<std::int64_t>(kSlots, static_cast<std::int64_t>(work / kTaskWork));
    std::int64_t parts = std::max<std::int64_t>(1, std::min(task.panels, ceil_div(wanted, slots)));
    const std::int64_t part_panels = ceil_div(task.panels, parts);
    parts = ceil_div(task.panels, part_panels);
    const std::int64_t range = ceil_div(ceil_div(pixels, slots), kInnerPixels) * kInnerPixels;
    slots = range ? ceil_div(pixels, range) : 1;
    const std::int64_t buffers_each = range > kPieceBlocks * kInnerPixels ? 2 : 1;
    Workspace buffer_space(static_cast<std::size_t>(buffers_each * slots * task.buffer_size()) *
                           sizeof(T));
    T* buffers = buffer_space.as<T>();
    if (pixels == 0) std::fill_n(buffers, task.buffer_size(), T(0));
    parallel_for(pixels ? slots * parts : 0, [&](std::int64_t i) {
        const std::int64_t slot = i / parts, panel = i % parts * part_panels;
        T* sum = buffers + slot * task.buffer_size();
        task.run(slot * range, std::min(pixels, (slot + 1) * range), panel,
                 std::min(task.panels, panel + part_panels), sum,
                 sum + (buffers_each - 1) * slots * task.buffer_size());
    });
    task.reduce(buffers, slots);
    task.copy_out(buffers);
}

template void indirect_weight_grad(const IndirectWeightGrad<float>&);
template void indirect_weight_grad(const IndirectWeightGrad<double>&);

}  // namespace babygrad::BABYGRAD_TARGET
