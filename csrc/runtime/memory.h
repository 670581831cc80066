// A caching allocator for result arrays and workspaces: 64-byte aligned blocks in size classes.
//
// A training step frees and asks for the same sizes again and again, and a fresh page costs more
// than the arithmetic on it. Freed blocks wait in their class, up to a limit in bytes (none before it
// is set); beyond it the class unused for longest is given back, and when the system has no memory
// left, all of them are.
#pragma once

#include <cstddef>
#include <cstdint>

namespace babygrad {

// Never null: throws std::bad_alloc. `release` takes the capacity, at least `bytes`, that the block
// came with.
void* allocate(std::size_t bytes, std::size_t& capacity);
void release(void* block, std::size_t capacity) noexcept;

struct MemoryStats {
    std::size_t in_use;    // bytes handed out, rounded up to their class
    std::size_t peak;      // the most that `in_use` has been
    std::size_t cached;    // bytes waiting for reuse
    std::size_t limit;     // bound on `cached`
    std::uint64_t hits;    // requests served from the cache
    std::uint64_t misses;  // requests that went to the system
};
MemoryStats memory_stats();
void set_cache_limit(std::size_t bytes);
void empty_cache();

// Counts the copies that are made only to change an array's layout: a test holds them at none.
void count_layout_copy();
std::uint64_t layout_copies();
void reset_layout_copies();

// A kernel's temporary memory, uninitialised, given back at the end of the scope.
class Workspace {
public:
    explicit Workspace(std::size_t bytes);
    ~Workspace();
    Workspace(const Workspace&) = delete;
    Workspace& operator=(const Workspace&) = delete;

    template <class T>
    T* as() const {
        return static_cast<T*>(data_);
    }

private:
    std::size_t capacity_;
    void* data_;
};

}  // namespace babygrad
