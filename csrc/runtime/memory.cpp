#include "runtime/memory.h"

#include <pthread.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <mutex>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) static_cast<void>(0)
#define ASAN_UNPOISON_MEMORY_REGION(address, size) static_cast<void>(0)
#endif

namespace babygrad {
namespace {

constexpr std::size_t kAlignment = 64;
// From this size on, blocks start on a huge page and ask for more of them: filling 64 MB of fresh
// memory then takes 32 page faults and not 16,384.
constexpr std::size_t kHugePage = std::size_t{1} << 21;
constexpr std::size_t kHugeFrom = 2 * kHugePage;
// From this size on, blocks are mapped one by one: what is given back is free for any size, and does
// not stay behind in the heap as a hole between two others.
constexpr std::size_t kMapFrom = std::size_t{1} << 20;

// From this size on, a request that finds no block of its class takes one of up to twice its size:
// a step's gradients then live where its activations were, and the next step's activations there
// again.
constexpr std::size_t kShareFrom = std::size_t{1} << 16;
constexpr int kShareClasses = 8;

// Classes: multiples of 64 up to 512 bytes, then eight steps per doubling (at most 1/8 wasted).
constexpr int kSmallClasses = 8;
constexpr int kClasses = kSmallClasses + 8 * 48;

struct SizeClass {
    int index;
    std::size_t bytes;
};

SizeClass size_class(std::size_t bytes) {
    if (bytes <= kSmallClasses * kAlignment) {
        const std::size_t steps = std::max<std::size_t>((bytes + kAlignment - 1) / kAlignment, 1);
        return {static_cast<int>(steps) - 1, steps * kAlignment};
    }
    if (bytes > std::size_t{1} << 56) throw std::bad_alloc();
    const int log2 = 63 - __builtin_clzll(bytes - 1);  // 2^log2 < bytes <= 2^(log2 + 1)
    const std::size_t step = std::size_t{1} << (log2 - 3);
    const std::size_t steps = (bytes - (std::size_t{1} << log2) + step - 1) / step;  // 1 to 8
    return {kSmallClasses + (log2 - 9) * 8 + static_cast<int>(steps) - 1,
            (std::size_t{1} << log2) + steps * step};
}

// Pages of their own, on a huge page's boundary when there are many.
void* map_pages(std::size_t bytes) noexcept {
    const bool huge = bytes >= kHugeFrom;
    const std::size_t extra = huge ? kHugePage : 0;
    void* start = mmap(nullptr, bytes + extra, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED) return nullptr;
    if (!huge) return start;
    char* begin = static_cast<char*>(start);
    const std::size_t before = -reinterpret_cast<std::uintptr_t>(begin) % kHugePage;
    if (before) munmap(begin, before);
    if (extra - before) munmap(begin + before + bytes, extra - before);
#ifdef MADV_HUGEPAGE
    madvise(begin + before, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
#endif
    return begin + before;
}

void* system_allocate(std::size_t bytes) noexcept {
    if (bytes >= kMapFrom) return map_pages(bytes);
    void* block = nullptr;
    return posix_memalign(&block, kAlignment, bytes) == 0 ? block : nullptr;
}

void system_release(void* block, std::size_t bytes) noexcept {
    ASAN_UNPOISON_MEMORY_REGION(block, bytes);
    if (bytes >= kMapFrom)
        munmap(block, bytes);
    else
        std::free(block);
}

// AddressSanitizer sees an access to a cached block, or to what its class adds to the size asked for.
void hide_unused([[maybe_unused]] void* block, [[maybe_unused]] std::size_t used,
                 [[maybe_unused]] std::size_t bytes) {
    ASAN_UNPOISON_MEMORY_REGION(block, used);
    ASAN_POISON_MEMORY_REGION(static_cast<char*>(block) + used, bytes - used);
}

// A free block holds the link to the next one of its class.
struct FreeBlock {
    FreeBlock* next;
};

struct Bin {
    FreeBlock* head = nullptr;
    std::size_t bytes = 0;  // of one block
    std::uint64_t last_use = 0;
};

class Cache {
public:
    std::mutex mutex;

    // A free block, null if there is none, of the class that `size` then says.
    void* take(SizeClass& size) noexcept {
        const int last = size.bytes >= kShareFrom ? size.index + kShareClasses : size.index;
        int found = size.index;
        while (found < last && !bins_[found].head) ++found;
        Bin& bin = bins_[found];
        FreeBlock* block = bin.head;
        if (block) size = {found, bin.bytes};
        bins_[size.index].last_use = ++clock_;
        stats_.in_use += size.bytes;
        stats_.peak = std::max(stats_.peak, stats_.in_use);
        ++(block ? stats_.hits : stats_.misses);
        if (!block) return nullptr;
        stats_.cached -= size.bytes;
        bin.head = block->next;
        return block;
    }

    void put(SizeClass size, void* block) noexcept {
        stats_.in_use -= size.bytes;
        Bin& bin = bins_[size.index];
        bin.bytes = size.bytes;
        bin.last_use = ++clock_;
        bin.head = new (block) FreeBlock{bin.head};
        hide_unused(block, sizeof(FreeBlock), size.bytes);
        stats_.cached += size.bytes;
        trim(stats_.limit);
    }

    void forget(SizeClass size) noexcept { stats_.in_use -= size.bytes; }

    void trim(std::size_t limit) noexcept {
        while (stats_.cached > limit) {
            Bin* oldest = nullptr;
            for (Bin& bin : bins_)
                if (bin.head && (!oldest || bin.last_use < oldest->last_use)) oldest = &bin;
            FreeBlock* block = oldest->head;
            oldest->head = block->next;
            stats_.cached -= oldest->bytes;
            system_release(block, oldest->bytes);
        }
    }

    void set_limit(std::size_t limit) noexcept {
        stats_.limit = limit;
        trim(limit);
    }

    MemoryStats stats() const { return stats_; }

private:
    std::array<Bin, kClasses> bins_{};
    std::uint64_t clock_ = 0;
    MemoryStats stats_{};
};

// Never destroyed: arrays may outlive every static object.
Cache& cache() {
    static Cache* const instance = [] {
        auto* created = new Cache;
        pthread_atfork([] { cache().mutex.lock(); }, [] { cache().mutex.unlock(); },
                       [] { cache().mutex.unlock(); });
        return created;
    }();
    return *instance;
}

using Lock = std::lock_guard<std::mutex>;

void* take_or_allocate(SizeClass& size) {
    {
        const Lock lock(cache().mutex);
        if (void* block = cache().take(size)) return block;
    }
    if (void* block = system_allocate(size.bytes)) return block;
    const Lock lock(cache().mutex);
    cache().trim(0);
    if (void* block = system_allocate(size.bytes)) return block;
    cache().forget(size);
    throw std::bad_alloc();
}

}  // namespace

void* allocate(std::size_t bytes, std::size_t& capacity) {
    SizeClass size = size_class(bytes);
    void* block = take_or_allocate(size);
    hide_unused(block, bytes, size.bytes);
    capacity = size.bytes;
    return block;
}

void release(void* block, std::size_t capacity) noexcept {
    const SizeClass size = size_class(capacity);
    hide_unused(block, size.bytes, size.bytes);
    const Lock lock(cache().mutex);
    cache().put(size, block);
}

MemoryStats memory_stats() {
    const Lock lock(cache().mutex);
    return cache().stats();
}

void set_cache_limit(std::size_t bytes) {
    const Lock lock(cache().mutex);
    cache().set_limit(bytes);
}

void empty_cache() {
    const Lock lock(cache().mutex);
    cache().trim(0);
}

namespace {
std::atomic<std::uint64_t> copies{0};
}

void count_layout_copy() { ++copies; }
std::uint64_t layout_copies() { return copies; }
void reset_layout_copies() { copies = 0; }

Workspace::Workspace(std::size_t bytes)
    : capacity_(0), data_(bytes == 0 ? nullptr : allocate(bytes, capacity_)) {}
Workspace::~Workspace() {
    if (data_) release(data_, capacity_);
}

}  // namespace babygrad
