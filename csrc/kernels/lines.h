// Operations along one axis, written once for a pack of lines and used in two ways: along contiguous
// memory a "line" is read a vector at a time and its lanes are joined at the end; across it, one
// vector holds an element each of kLanes neighbouring lines and nothing needs joining.
#pragma once

#include "memory.h"
#include "simd/loop.h"
#include "threads.h"
#include "view.h"

namespace babygrad::BABYGRAD_TARGET {
namespace {

// An operand's line or lines: element i of line l is at data + i * step + l * next.
struct Line {
    char* data;
    std::int64_t step, next;
};

// Along: vectors of one line. `count` of its `n` elements remain at i.
template <class T>
struct Along {
    static constexpr std::int64_t stride = kLanes<T>;
    std::int64_t n;
    Vec<T> get(const Line& line, std::int64_t i, T fill) const {
        const T* p = reinterpret_cast<const T*>(line.data) + i;
        return n - i >= stride ? load(p) : load_part(p, n - i, fill);
    }
    void put(const Line& line, std::int64_t i, Vec<T> v) const {
        T* p = reinterpret_cast<T*>(line.data) + i;
        n - i >= stride ? store(p, v) : store_part(p, v, n - i);
    }
    template <class Fn>
    Vec<T> join(Vec<T> v, const Fn& fn) const {
        return splat(fold(v, fn));
    }
    // Lanes beyond the end, forced to `fill` before they enter a sum.
    Vec<T> mask(Vec<T> v, std::int64_t i, T fill) const {
        if (n - i >= stride) return v;
        T lanes[kLanes<T>];
        store(lanes, v);
        for (std::int64_t k = n - i; k < stride; ++k) lanes[k] = fill;
        return load(lanes);
    }
};

// Across: one element each of `lines` neighbouring lines.
template <class T>
struct Across {
    static constexpr std::int64_t stride = 1;
    std::int64_t n;
    std::int64_t lines;
    Vec<T> get(const Line& line, std::int64_t i, T fill) const {
        const char* p = line.data + i * line.step;
        if (line.next == sizeof(T) && lines == kLanes<T>) return load(reinterpret_cast<const T*>(p));
        T lanes[kLanes<T>];
        for (int k = 0; k < kLanes<T>; ++k)
            lanes[k] = k < lines ? *reinterpret_cast<const T*>(p + k * line.next) : fill;
        return load(lanes);
    }
    void put(const Line& line, std::int64_t i, Vec<T> v) const {
        char* p = line.data + i * line.step;
        if (line.next == sizeof(T) && lines == kLanes<T>) return store(reinterpret_cast<T*>(p), v);
        store_strided<T>(p, line.next, v, lines);
    }
    template <class Fn>
    Vec<T> join(Vec<T> v, const Fn&) const {
        return v;
    }
    Vec<T> mask(Vec<T> v, std::int64_t, T) const { return v; }
};

// A sum in blocks, so that its error does not grow with the line's length.
template <class V>
struct BlockedSum {
    V total{}, block{};
    int entered = 0;
    void add(V v) {
        block = block + v;
        if (++entered == 64) flush();
    }
    void flush() {
        total = total + block;
        block = V{};
        entered = 0;
    }
};
template <class Pack, class V>
inline V finish_sum(const Pack& pack, BlockedSum<V> sum) {
    return pack.join(sum.total + sum.block, [](auto a, auto b) { return a + b; });
}

// Calls fn(pack, lines...) for every line along the last axis of the views, which are of one shape
// apart from their last axis.
template <class T, class Fn, int count>
inline void for_lines(const View* const (&views)[count], const Fn& fn) {
    const std::int64_t n = dim(*views[0], -1);
    View heads[count];
    const View* head_views[count];
    bool along = true;
    for (int k = 0; k < count; ++k) {
        heads[k] = *views[k];
        heads[k].ndim = views[0]->ndim - 1;
        head_views[k] = &heads[k];
        along = along && (views[k]->ndim < views[0]->ndim || stride(*views[k], -1) == sizeof(T));
    }
    const Nest nest = make_nest(head_views, count);
    const int inner = nest.ndim - 1;
    const std::int64_t width = nest.shape[inner];
    const std::int64_t pack = along ? 1 : kLanes<T>, packs = ceil_div(width, pack);
    std::int64_t outer = 1;
    for (int i = 0; i < inner; ++i) outer *= nest.shape[i];
    constexpr std::int64_t work = 1 << 14;
    const std::int64_t grain = n * pack < work ? work / (n * pack) : 1;
    parallel_ranges(outer * packs, grain, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
            char* data[kMaxOperands];
            nest_offsets(nest, inner, i / packs, data);
            const std::int64_t first = i % packs * pack;
            Line lines[count];
            for (int k = 0; k < count; ++k) {
                const bool scalar = views[k]->ndim < views[0]->ndim;
                lines[k] = {data[k] + first * nest.strides[inner][k],
                            scalar ? 0 : stride(*views[k], -1), nest.strides[inner][k]};
            }
            if (along)
                fn(Along<T>{n}, lines);
            else
                fn(Across<T>{n, width - first < pack ? width - first : pack}, lines);
        }
    });
}

}  // namespace
}  // namespace babygrad::BABYGRAD_TARGET
