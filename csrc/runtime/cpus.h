// How many processors this process may keep busy.
#pragma once

#include <string>

namespace babygrad {

// The processors' worth of time that cgroup v1 or v2 grants, read from `root`/proc/self/cgroup and
// `root`/sys/fs/cgroup; 0 when there is no limit. `root` is "" except in tests.
double cgroup_cpu_limit(const std::string& root);

// The affinity mask cut to the cgroup limit; at least 1. Where a launcher has started several
// `processes` here, the share of one: they share the limit and the launcher's `processors` (0 when
// not known: those of this process), of which a launcher that binds may have given each its own.
int default_num_threads(const std::string& root, int processes, int processors);

}  // namespace babygrad
