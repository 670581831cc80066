// Chooses the instruction set, once at load: the best that was compiled in and that processor and
// system support, or the one BABYGRAD_ISA names.
#pragma once

#include <string>
#include <vector>

#include "targets/targets.h"

namespace babygrad {

// The active table. Throws std::runtime_error when nothing compiled in can run here, or when
// BABYGRAD_ISA names something that cannot.
const Kernels& kernels();

const char* isa();
std::vector<std::string> available_isas();  // from least to most capable
void set_isa(const std::string& name);      // throws std::invalid_argument

}  // namespace babygrad
