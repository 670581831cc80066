#include "kernels/reduce.h"
#include "targets/targets.h"
namespace babygrad::BABYGRAD_TARGET {
void fill(ReduceKernels&) {}
}  // namespace babygrad::BABYGRAD_TARGET
