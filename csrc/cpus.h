// How many processors this process may keep busy.
#pragma once

#include <string>

namespace babygrad {

// The processors' worth of time that cgroup v1 or v2 grants, read from `root`/proc/self/cgroup and
// `root`/sys/fs/cgroup; 0 when there is no limit. `root` is "" except in tests.
double cgroup_cpu_limit(const std::string& root);

// BABYGRAD_NUM_THREADS, else the affinity mask cut to the cgroup limit; at least 1.
int default_num_threads(const std::string& root);

}  // namespace babygrad
