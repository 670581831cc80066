#include "runtime/threads.h"

#include <pthread.h>
#include <sched.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace babygrad {
namespace {

// A worker polls this long for the next job before it sleeps. A training step's kernels follow one
// another within tens of microseconds, and waking a sleeper costs 20 to 60.
constexpr std::chrono::microseconds kSpinTime{1000};

std::atomic<bool> flush_denormal{false};
thread_local bool inside_job = false;

inline void relax() {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

class Pool {
public:
    explicit Pool(int threads) : threads_(threads) {}
    int threads() const { return threads_.load(std::memory_order_relaxed); }
    std::mutex& owner() { return owner_; }

    // The caller holds owner().
    void run(std::int64_t count, ChunkFn fn, void* context) {
        if (workers_.empty() && !start()) {
            for (std::int64_t i = 0; i < count; ++i) fn(context, i);
            return;
        }
        fn_ = fn;
        context_ = context;
        const std::int64_t shares = static_cast<std::int64_t>(workers_.size()) + 1;
        for (std::int64_t i = 0; i < shares; ++i) {
            shares_[static_cast<std::size_t>(i)].next.store(count * i / shares,
                                                            std::memory_order_relaxed);
            shares_[static_cast<std::size_t>(i)].end = count * (i + 1) / shares;
        }
        error_ = nullptr;
        epoch_ += kEpoch;
        gate_.store(epoch_ | kOpen);
        wake(count - 1);
        take_chunks(0);
        gate_.fetch_and(~kOpen);
        for (int spins = 0; (gate_.load(std::memory_order_acquire) & kInside) != 0; ++spins)
            spins < 4000 ? relax() : static_cast<void>(sched_yield());
        if (error_) std::rethrow_exception(error_);
    }

    std::uint64_t jobs() const { return epoch_ / kEpoch; }  // The caller holds owner().

    // Ends the workers; the next job starts the new number of them. The caller holds owner().
    void resize(int threads) {
        {
            const std::lock_guard<std::mutex> lock(sleep_mutex_);
            stopping_.store(true);
        }
        sleep_.notify_all();
        for (std::thread& worker : workers_) worker.join();
        workers_.clear();
        stopping_.store(false);
        threads_.store(threads);
    }

private:
    // gate_ packs the job's number, the workers inside it and whether one may still enter. A worker
    // enters by compare-and-swap, so one that wakes late cannot touch the next job's fields, and
    // the caller never waits for a worker that slept through the job.
    static constexpr std::uint64_t kOpen = 1, kWorker = 2, kInside = 0xfffe, kEpoch = 0x10000;

    // Neighbouring chunks that one thread begins with: the same of each job, so that what a kernel
    // leaves in a core's cache is found there by the next one.
    struct alignas(64) Share {
        std::atomic<std::int64_t> next{0};
        std::int64_t end = 0;
    };

    bool start() {
        try {
            for (int i = 1; i < threads(); ++i)
                workers_.emplace_back([this, i] { work(static_cast<std::size_t>(i)); });
        } catch (const std::system_error&) {
            // As many as the system gives; with none, jobs run on the caller.
        }
        shares_ = std::vector<Share>(workers_.size() + 1);
        return !workers_.empty();
    }

    void wake(std::int64_t wanted) {
        if (sleepers_.load() == 0) return;
        const std::lock_guard<std::mutex> lock(sleep_mutex_);
        if (wanted >= sleepers_.load()) {
            sleep_.notify_all();
        } else {
            for (std::int64_t i = 0; i < wanted; ++i) sleep_.notify_one();
        }
    }

    // The thread's own share first, then what is left of the others'.
    void take_chunks(std::size_t own) {
        inside_job = true;
        for (std::size_t turn = 0; turn < shares_.size(); ++turn) {
            Share& share = shares_[(own + turn) % shares_.size()];
            const auto next = [&] { return share.next.fetch_add(1, std::memory_order_relaxed); };
            for (std::int64_t i = next(); i < share.end; i = next()) run_chunk(i);
        }
        inside_job = false;
    }

    void run_chunk(std::int64_t i) {
        try {
            fn_(context_, i);
        } catch (...) {
            const std::lock_guard<std::mutex> lock(error_mutex_);
            if (!error_) error_ = std::current_exception();
        }
    }

    bool may_enter(std::uint64_t gate, std::uint64_t seen) const {
        return (gate & kOpen) != 0 && gate / kEpoch != seen;
    }

    void work(std::size_t own) {
        std::uint64_t seen = 0;
        while (true) {
            std::uint64_t gate = await(seen);
            if (stopping_.load()) return;
            while (may_enter(gate, seen)) {
                if (!gate_.compare_exchange_weak(gate, gate + kWorker)) continue;
                seen = gate / kEpoch;
                {
                    const FlushScope flush;
                    take_chunks(own);
                }
                gate_.fetch_sub(kWorker, std::memory_order_release);
                break;
            }
        }
    }

    // Returns the gate once it is open for a job this worker has not seen, or on stop().
    std::uint64_t await(std::uint64_t seen) {
        using Clock = std::chrono::steady_clock;
        const auto deadline = Clock::now() + kSpinTime;
        do {
            for (int i = 0; i < 64; ++i) {
                const std::uint64_t gate = gate_.load(std::memory_order_acquire);
                if (may_enter(gate, seen) || stopping_.load()) return gate;
                relax();
            }
        } while (Clock::now() < deadline);
        std::unique_lock<std::mutex> lock(sleep_mutex_);
        sleepers_.fetch_add(1);
        std::uint64_t gate;
        sleep_.wait(lock, [&] {
            gate = gate_.load();
            return may_enter(gate, seen) || stopping_.load();
        });
        sleepers_.fetch_sub(1);
        return gate;
    }

    std::atomic<int> threads_;
    std::mutex owner_;
    std::vector<std::thread> workers_;

    alignas(64) std::atomic<std::uint64_t> gate_{0};
    alignas(64) std::uint64_t epoch_ = 0;
    ChunkFn fn_ = nullptr;
    void* context_ = nullptr;
    std::vector<Share> shares_;

    std::mutex error_mutex_;
    std::exception_ptr error_;
    std::mutex sleep_mutex_;
    std::condition_variable sleep_;
    std::atomic<int> sleepers_{0};
    std::atomic<bool> stopping_{false};
};

// Never destroyed: workers may sleep in it while the process exits. A forked child has none of the
// parent's threads, so it gets a new pool and leaves the old one, locked or not, alone.
std::atomic<Pool*> pool{nullptr};

Pool& the_pool() {
    Pool* current = pool.load(std::memory_order_acquire);
    if (current) return *current;
    static std::once_flag once;
    std::call_once(once, [] {
        pool.store(new Pool(1));
        pthread_atfork(nullptr, nullptr, [] { pool.store(new Pool(pool.load()->threads())); });
    });
    return *pool.load();
}

}  // namespace

int num_threads() { return the_pool().threads(); }

void set_num_threads(int count) {
    Pool& current = the_pool();
    const std::lock_guard<std::mutex> lock(current.owner());
    if (current.threads() != count) current.resize(count);
}

void set_flush_denormal(bool on) { flush_denormal.store(on); }

FlushScope::FlushScope() : saved_(0), active_(flush_denormal.load(std::memory_order_relaxed)) {
#if defined(__x86_64__)
    if (!active_) return;
    saved_ = _mm_getcsr();
    _mm_setcsr(saved_ | 0x8040);  // flush-to-zero | denormals-are-zero
#endif
}

FlushScope::~FlushScope() {
#if defined(__x86_64__)
    if (active_) _mm_setcsr(saved_);
#endif
}

void run_chunks(std::int64_t count, ChunkFn fn, void* context) {
    if (count > 1 && !inside_job) {
        Pool& current = the_pool();
        std::unique_lock<std::mutex> lock(current.owner(), std::defer_lock);
        if (current.threads() > 1 && lock.try_lock()) return current.run(count, fn, context);
    }
    for (std::int64_t i = 0; i < count; ++i) fn(context, i);
}

std::uint64_t pool_jobs() {
    Pool& current = the_pool();
    const std::lock_guard<std::mutex> lock(current.owner());
    return current.jobs();
}

double dispatch_nanoseconds(int repeats) {
    using Clock = std::chrono::steady_clock;
    const auto start = Clock::now();
    for (int i = 0; i < repeats; ++i) {
        std::atomic<int> begun{0};
        // Each part waits for the other, or one thread would do both; not for ever, as there may be
        // one thread only.
        const auto meet = [&begun](std::int64_t) {
            ++begun;
            for (int turns = 0; turns < 10000 && begun.load() < 2; ++turns) relax();
        };
        parallel_for(2, meet);
    }
    return std::chrono::duration<double, std::nano>(Clock::now() - start).count() / repeats;
}

}  // namespace babygrad
