#include "runtime/cpus.h"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <thread>

#ifdef __linux__
#include <sched.h>
#endif

namespace babygrad {
namespace {

double positive_ratio(double quota, double period) {
    return quota > 0 && period > 0 ? quota / period : 0;
}

// cgroup v2: "max 100000" or "150000 100000".
double limit_v2(const std::string& folder) {
    std::ifstream file(folder + "/cpu.max");
    double quota = 0, period = 0;
    file >> quota >> period;
    return file ? positive_ratio(quota, period) : 0;
}

// cgroup v1: two files, quota -1 for no limit.
double limit_v1(const std::string& folder) {
    std::ifstream quota_file(folder + "/cpu.cfs_quota_us"), period_file(folder + "/cpu.cfs_period_us");
    double quota = 0, period = 0;
    quota_file >> quota;
    period_file >> period;
    return quota_file && period_file ? positive_ratio(quota, period) : 0;
}

// The tightest limit on the way from `path` up to the mount point.
double tightest(const std::string& mount, std::string path, double (*limit)(const std::string&)) {
    double result = 0;
    while (true) {
        const double here = limit(mount + path);
        if (here > 0) result = result > 0 ? std::min(result, here) : here;
        const auto slash = path.find_last_of('/');
        if (slash == std::string::npos) return result;
        path.resize(slash);
    }
}

int affinity_count() {
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
    return static_cast<int>(std::thread::hardware_concurrency());
}

}  // namespace

double cgroup_cpu_limit(const std::string& root) {
    std::ifstream memberships(root + "/proc/self/cgroup");
    const std::string mounts = root + "/sys/fs/cgroup";
    double result = 0;
    for (std::string line; std::getline(memberships, line);) {
        // hierarchy-id:controllers:path
        const auto first = line.find(':'), second = line.find(':', first + 1);
        if (first == std::string::npos || second == std::string::npos) continue;
        const std::string controllers = line.substr(first + 1, second - first - 1);
        std::string path = line.substr(second + 1);
        if (path == "/") path.clear();
        double limit = 0;
        if (controllers.empty()) {
            limit = tightest(mounts, path, limit_v2);
        } else if (("," + controllers + ",").find(",cpu,") != std::string::npos) {
            limit = tightest(mounts + "/cpu", path, limit_v1);
            if (limit == 0) limit = tightest(mounts + "/" + controllers, path, limit_v1);
        }
        if (limit > 0) result = result > 0 ? std::min(result, limit) : limit;
    }
    return result;
}

int default_num_threads(const std::string& root, int processes, int processors) {
    int count = affinity_count();
    if (processes > 1) count = std::min(count, (processors > 0 ? processors : count) / processes);
    // Rounded down: a thread beyond the quota is throttled, and the others wait for it.
    const double limit = cgroup_cpu_limit(root);
    if (limit > 0) count = std::min(count, static_cast<int>(limit / processes));
    return std::max(1, count);
}

}  // namespace babygrad
