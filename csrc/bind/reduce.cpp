// Reductions over any axes.
#include "bind/bind.h"
namespace babygrad::bind {
void register_reduce() {}
}  // namespace babygrad::bind
