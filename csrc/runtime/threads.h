// One small pool of threads for the whole process, started by the first job that is large enough.
//
// Work is split by problem size and never by the number of threads: the caller chooses the
// chunks, and each chunk computes the same bits whoever runs it. The calling thread takes part.
// A job runs serially on the caller when it has one chunk, when it comes from inside another job,
// and while another thread holds the pool.
#pragma once

#include <cstdint>

namespace babygrad {

int num_threads();                // 1 before it is set
void set_num_threads(int count);  // count >= 1

// Makes kernels, and nothing else, treat subnormals as zero.
void set_flush_denormal(bool on);

// Applies set_flush_denormal to the calling thread for the life of the scope.
struct FlushScope {
    FlushScope();
    ~FlushScope();
    FlushScope(const FlushScope&) = delete;
    FlushScope& operator=(const FlushScope&) = delete;

private:
    unsigned saved_;
    bool active_;
};

using ChunkFn = void (*)(void* context, std::int64_t chunk);
void run_chunks(std::int64_t count, ChunkFn fn, void* context);

// Calls fn(i) once for each i in [0, count), in any order, from any thread of the pool.
// An exception thrown by a chunk is rethrown here after the other chunks have finished.
template <class Fn>
static inline void parallel_for(std::int64_t count, const Fn& fn) {
    run_chunks(
        count, [](void* context, std::int64_t i) { (*static_cast<const Fn*>(context))(i); },
        const_cast<void*>(static_cast<const void*>(&fn)));
}

// Jobs that went to the pool so far, for tests.
std::uint64_t pool_jobs();

// Mean time of an empty job of two chunks that two threads run, for tests and benchmarks.
double dispatch_nanoseconds(int repeats);

static inline std::int64_t ceil_div(std::int64_t n, std::int64_t d) { return (n + d - 1) / d; }

// Calls fn(begin, end) over [0, n) in pieces of `grain` items, the last one shorter.
template <class Fn>
static inline void parallel_ranges(std::int64_t n, std::int64_t grain, const Fn& fn) {
    parallel_for(ceil_div(n, grain), [&](std::int64_t i) {
        const std::int64_t begin = i * grain;
        fn(begin, begin + grain < n ? begin + grain : n);
    });
}

}  // namespace babygrad
