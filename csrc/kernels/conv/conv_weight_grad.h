// The weight gradient as a GEMM whose inner axis is the output pixels, or tiles of them: what its
// arrangements share, which is how the pixels are summed.
//
// Policy: the products of a block of pixels are summed in a register, those of kPiecePixels in a
// buffer, the pieces of one of at most kSlots ranges of pixels in another, and the ranges pairwise;
// all of it depends on the sizes alone.
#pragma once

#include <algorithm>

#include "kernels/conv/conv_core.h"
#include "kernels/gemm/pack.h"
#include "runtime/threads.h"

namespace babygrad::BABYGRAD_TARGET {
namespace {

constexpr std::int64_t kSlots = 16;
constexpr std::int64_t kSlotBytes = 16 << 20;  // the buffers of all slots
constexpr double kTaskWork = 1e6;              // multiply-adds
constexpr std::int64_t kPiecePixels = 2048;

// The sums are a matrix of `rows` by `panels` panels for each group, over `pixels` pixels or tiles, of
// which one costs `packing` cycles to prepare for each group.
template <class T>
struct WeightGrad {
    const IndirectWeightGrad<T>& conv;
    std::int64_t pixels, packing, outputs, rows, panels;

    std::int64_t row_size() const { return panels * kTileColumns<T>; }
    std::int64_t buffer_size() const { return conv.groups * rows * row_size(); }

    void add_piece(std::int64_t panel, std::int64_t panel_end, const T* piece, T* sum) const {
        for (std::int64_t row = 0; row < conv.groups * rows; ++row)
            for (std::int64_t j = panel * kTileColumns<T>; j < panel_end * kTileColumns<T>; ++j)
                sum[row * row_size() + j] += piece[row * row_size() + j];
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
};

// Sums pixels [begin, end) for panels [panel, panel_end) into `sum`, by way of `piece`.
template <class T, class Task>
void sum_pixels(const Task& task, std::int64_t begin, std::int64_t end, std::int64_t panel,
                std::int64_t panel_end, T* sum, T* piece) {
    constexpr std::int64_t pixels = Task::kBlock, blocks = kPiecePixels / pixels;
    static_assert(kPiecePixels % pixels == 0, "a piece is whole blocks");
    typename Task::Operands operands(task, std::min(pixels, end - begin));
    for (std::int64_t p = begin; p < end; p += pixels) {
        const std::int64_t count = std::min(pixels, end - p), at = (p - begin) / pixels % blocks;
        const bool direct = p - begin < kPiecePixels;
        task.add_block(operands, p, count, panel, panel_end, at > 0, direct ? sum : piece);
        if (!direct && (at == blocks - 1 || p + pixels >= end))
            task.add_piece(panel, panel_end, piece, sum);
    }
}

struct Split {
    std::int64_t slots, parts;  // of the pixels; of the panels
};

// The cheapest split into about as many tasks as are wanted. Slots cost additions of whole buffers,
// about a cycle per element; parts read and pack the pixels again.
template <class T, class Task>
Split split(const Task& grad) {
    const std::int64_t pixels = grad.pixels, size = grad.buffer_size();
    const std::int64_t wanted = std::clamp<std::int64_t>(
        static_cast<std::int64_t>(static_cast<double>(pixels) * static_cast<double>(size) /
                                  kTaskWork),
        1, kSlots);
    const std::int64_t limit =
        std::min({wanted, std::max<std::int64_t>(1, ceil_div(pixels, Task::kBlock)),
                  std::max<std::int64_t>(1, kSlotBytes / static_cast<std::int64_t>(sizeof(T)) / size)});
    Split best{limit, std::min(grad.panels, ceil_div(wanted, limit))};
    const auto cost = [&](const Split& s) {
        return s.slots * size + s.parts * pixels * grad.conv.groups * grad.packing;
    };
    for (std::int64_t slots = limit / 2; slots > 0; slots /= 2) {
        const Split other{slots, std::min(grad.panels, ceil_div(wanted, slots))};
        if (other.slots * other.parts >= wanted && cost(other) < cost(best)) best = other;
    }
    return best;
}

// Element i of a panel's column j goes to gw + j * output + to[i].
template <class T>
inline void scatter_panel(const T* panel, const std::int64_t* to, std::int64_t count,
                          std::int64_t width, std::int64_t output, T* gw) {
    for (std::int64_t j = 0; j < std::min<std::int64_t>(width, kTileColumns<T>); ++j)
        for (std::int64_t i = 0; i < count; ++i)
            gw[j * output + to[i]] = panel[i * kTileColumns<T> + j];
}

// A task adds blocks of up to kBlock pixels (add_block, with its Operands as workspace) and hands
// the sums over in the gradient's own layout (copy_out).
template <class T, class Task>
void run_weight_grad(const Task& task) {
    const std::int64_t size = task.buffer_size(), pixels = task.pixels;
    if (size == 0) return;
    const Split wanted = split<T>(task);
    const std::int64_t part_panels = ceil_div(task.panels, wanted.parts);
    const std::int64_t parts = ceil_div(task.panels, part_panels);
    const std::int64_t range = ceil_div(ceil_div(pixels, wanted.slots), Task::kBlock) * Task::kBlock;
    const std::int64_t slots = range ? ceil_div(pixels, range) : 1;
    const std::int64_t buffers_each = range > kPiecePixels ? 2 : 1;
    Workspace buffer_space(static_cast<std::size_t>(buffers_each * slots * size) * sizeof(T));
    T* buffers = buffer_space.as<T>();
    if (pixels == 0)
        std::memset(buffers, 0, static_cast<std::size_t>(size) * sizeof(T));
    parallel_for(pixels ? slots * parts : 0, [&](std::int64_t i) {
        const std::int64_t slot = i / parts, panel = i % parts * part_panels;
        T* sum = buffers + slot * size;
        sum_pixels(task, slot * range, std::min(pixels, (slot + 1) * range), panel,
                   std::min(task.panels, panel + part_panels), sum,
                   sum + (buffers_each - 1) * slots * size);
    });
    task.reduce(buffers, slots);
    task.copy_out(buffers);
}

}  // namespace
}  // namespace babygrad::BABYGRAD_TARGET
