// Chooses the instruction set: at load the best that was compiled in and that processor and system
// support.
#pragma once

#include <string>
#include <vector>

#include "targets/targets.h"

namespace babygrad {

// The active table. Throws std::runtime_error when nothing compiled in can run here.
const Kernels& kernels();

const char* isa();
std::vector<std::string> available_isas();  // from least to most capable
void set_isa(const std::string& name);      // throws std::invalid_argument

}  // namespace babygrad
