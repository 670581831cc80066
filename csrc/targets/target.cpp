// The table of the target being compiled.
#include "targets/targets.h"

namespace babygrad::BABYGRAD_TARGET {

void fill(Kernels& kernels) {
#define BABYGRAD_FILL(Type, member) fill(kernels.member);
    BABYGRAD_FAMILIES(BABYGRAD_FILL)
}

}  // namespace babygrad::BABYGRAD_TARGET
