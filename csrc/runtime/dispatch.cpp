#include "runtime/dispatch.h"

#include <atomic>
#include <stdexcept>

namespace babygrad {
namespace {

struct Target {
    const char* name;
    bool supported;
    Kernels kernels;
};

// GCC's and Clang's __builtin_cpu_supports read cpuid and, for the registers that the system must
// save, xgetbv.
std::vector<Target> make_targets() {
    std::vector<Target> targets;
#if defined(__x86_64__)
    __builtin_cpu_init();
    targets.push_back({"baseline",
                       __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt"), {}});
#else
    targets.push_back({"baseline", true, {}});
#endif
    baseline::fill(targets.back().kernels);
#if defined(BABYGRAD_HAVE_AVX2)
    targets.push_back(
        {"avx2", __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"), {}});
    avx2::fill(targets.back().kernels);
#endif
#if defined(BABYGRAD_HAVE_AVX512)
    targets.push_back({"avx512",
                       __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                           __builtin_cpu_supports("avx512bw") &&
                           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma"),
                       {}});
    avx512::fill(targets.back().kernels);
#endif
    return targets;
}

const std::vector<Target>& targets() {
    static const auto* const all = new std::vector<Target>(make_targets());
    return *all;
}

const Target* find(const std::string& name) {
    for (const Target& target : targets())
        if (target.supported && name == target.name) return &target;
    return nullptr;
}

std::string available_list() {
    std::string list;
    for (const std::string& name : available_isas()) list += (list.empty() ? "" : ", ") + name;
    return list;
}

const Target* choose() {
    const Target* best = nullptr;
    for (const Target& target : targets())
        if (target.supported) best = &target;
    if (!best) throw std::runtime_error("cpu:cpp needs a processor with SSE4.2 (x86-64-v2)");
    return best;
}

std::atomic<const Target*>& active() {
    static std::atomic<const Target*> target{choose()};
    return target;
}

}  // namespace

const Kernels& kernels() { return active().load(std::memory_order_relaxed)->kernels; }

const char* isa() { return active().load()->name; }

std::vector<std::string> available_isas() {
    std::vector<std::string> names;
    for (const Target& target : targets())
        if (target.supported) names.emplace_back(target.name);
    return names;
}

void set_isa(const std::string& name) {
    const Target* target = find(name);
    if (!target)
        throw std::invalid_argument("set_isa: '" + name +
                                    "' is not available, this machine has: " + available_list());
    active().store(target);
}

}  // namespace babygrad
