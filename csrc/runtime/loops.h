// Walks several strided operands together and hands a kernel two axes at a time.
#pragma once

#include <cstdint>

#include "runtime/view.h"

namespace babygrad {

// `n` elements in each of `rows` rows; operand 0 is the output. Steps are in bytes.
struct LoopArgs {
    char* data[kMaxOperands];
    std::int64_t step[kMaxOperands];
    std::int64_t row_step[kMaxOperands];
    std::int64_t n;
    std::int64_t rows;
    const double* params;
};
using Loop = void (*)(const LoopArgs& args);

// Runs `loop` over views of one shape (the output first), on several threads from `grain` elements
// on. Overlap of output and inputs is allowed only where they are the same elements.
void run_loop(Loop loop, const View* const* views, int count, std::int64_t grain,
              const double* params = nullptr);

// The same for operands that are each C-contiguous in the full shape, or one repeated element.
void run_flat(Loop loop, const View* const* views, int count, std::int64_t grain,
              const double* params);

// Elements per chunk for work that a core does at about one, or a quarter of one, per nanosecond.
constexpr std::int64_t kHeavyGrain = 1 << 14;
constexpr std::int64_t kLightGrain = 1 << 15;

}  // namespace babygrad
