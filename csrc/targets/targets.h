// The kernels of one instruction set. Each family declares its part of the table in its header
// and fills it, once per target, in its source.
#pragma once

#include "targets/families.h"

namespace babygrad {

struct Kernels {
#define BABYGRAD_MEMBER(Type, member) Type member;
    BABYGRAD_FAMILIES(BABYGRAD_MEMBER)
#undef BABYGRAD_MEMBER
};

#define BABYGRAD_FILL(Type, member) void fill(Type& table);
namespace baseline {
BABYGRAD_FAMILIES(BABYGRAD_FILL)
void fill(Kernels& kernels);
}  // namespace baseline
namespace avx2 {
BABYGRAD_FAMILIES(BABYGRAD_FILL)
void fill(Kernels& kernels);
}  // namespace avx2
namespace avx512 {
BABYGRAD_FAMILIES(BABYGRAD_FILL)
void fill(Kernels& kernels);
}  // namespace avx512
#undef BABYGRAD_FILL

}  // namespace babygrad
