// Operations along one axis, written once for a pack of lines and used in two ways: along
// contiguous memory a "line" is read a vector at a time and its lanes are joined at the end; across
// it, one vector holds an element each of kLanes neighbouring lines and nothing needs joining.
#pragma once

#include "runtime/memory.h"
#include "simd/loop.h"
#include "runtime/threads.h"
#include "runtime/view.h"

namespace babygrad::BABYGRAD_TARGET {
namespace {

// An operand's line or lines: element i of line l is at data + i * step + l * next.
struct Line {
    char* data;
    std::int64_t step, next;
};

// Along: vectors of one line. The last one may be a part: `count` of its `n` elements remain at i.
template <class T>
struct Along {
    static constexpr std::int64_t stride = kLanes<T>;
    struct Whole {
        Vec<T> get(const Line& line, std::int64_t i, T) const {
            return load(reinterpret_cast<const T*>(line.data) + i);
        }
        void put(const Line& line, std::int64_t i, Vec<T> v) const {
            store(reinterpret_cast<T*>(line.data) + i, v);
        }
        Vec<T> mask(Vec<T> v, std::int64_t, T) const { return v; }
    };
    std::int64_t n;
    std::int64_t whole() const { return n / stride * stride; }
    Vec<T> get(const Line& line, std::int64_t i, T fill) const {
        return load_part(reinterpret_cast<const T*>(line.data) + i, n - i, fill);
    }
    void put(const Line& line, std::int64_t i, Vec<T> v) const {
        store_part(reinterpret_cast<T*>(line.data) + i, v, n - i);
    }
    template <class Fn>
    Vec<T> join(Vec<T> v, const Fn& fn) const {
        return splat(fold(v, fn));
    }
    // Lanes beyond the end, forced to `fill` before they enter a sum.
    Vec<T> mask(Vec<T> v, std::int64_t i, T fill) const {
        T lanes[kLanes<T>];
        store(lanes, v);
        for (std::int64_t k = n - i; k < stride; ++k) lanes[k] = fill;
        return load(lanes);
    }
};

// Across: one element each of `lines` neighbouring lines; `dense` where these fill a vector with
// adjacent elements in every operand.
template <class T>
struct Across {
    static constexpr std::int64_t stride = 1;
    struct Whole {
        Vec<T> get(const Line& line, std::int64_t i, T) const {
            return load(reinterpret_cast<const T*>(line.data + i * line.step));
        }
        void put(const Line& line, std::int64_t i, Vec<T> v) const {
            store(reinterpret_cast<T*>(line.data + i * line.step), v);
        }
        Vec<T> mask(Vec<T> v, std::int64_t, T) const { return v; }
    };
    std::int64_t n;
    std::int64_t lines;
    bool dense;
    std::int64_t whole() const { return dense ? n : 0; }
    Vec<T> get(const Line& line, std::int64_t i, T fill) const {
        const char* p = line.data + i * line.step;
        T lanes[kLanes<T>];
        for (int k = 0; k < kLanes<T>; ++k)
            lanes[k] = k < lines ? *reinterpret_cast<const T*>(p + k * line.next) : fill;
        return load(lanes);
    }
    void put(const Line& line, std::int64_t i, Vec<T> v) const {
        store_strided<T>(line.data + i * line.step, line.next, v, lines);
    }
    template <class Fn>
    Vec<T> join(Vec<T> v, const Fn&) const {
        return v;
    }
    Vec<T> mask(Vec<T> v, std::int64_t, T) const { return v; }
};

// Calls fn(part, i) for the vectors of a pack: `part` reads and writes them, and knows while it is
// compiled whether they are whole.
template <class Pack, class Fn>
inline void for_vectors(const Pack& pack, const Fn& fn) {
    std::int64_t i = 0;
    for (const std::int64_t whole = pack.whole(); i < whole; i += Pack::stride)
        fn(typename Pack::Whole(), i);
    for (; i < pack.n; i += Pack::stride) fn(pack, i);
}

// The sum of term(part, i) over the vectors of a pack: in four sums, whose additions do not wait
// for each other, and in blocks, so that the error does not grow with the line's length.
template <class Pack, class Term>
inline auto sum_of(const Pack& pack, const Term& term) {
    using Value = decltype(term(pack, std::int64_t{}));
    constexpr std::int64_t step = Pack::stride;
    Value total{};
    const auto add = [&](const auto& part, std::int64_t i, std::int64_t end) {
        while (i < end) {
            const std::int64_t stop = end - i < 64 * step ? end : i + 64 * step;
            Value sums[4] = {};
            for (; i + 3 * step < stop; i += 4 * step)
                for (int k = 0; k < 4; ++k) sums[k] = sums[k] + term(part, i + k * step);
            for (; i < stop; i += step) sums[0] = sums[0] + term(part, i);
            total = total + ((sums[0] + sums[1]) + (sums[2] + sums[3]));
        }
    };
    add(typename Pack::Whole(), 0, pack.whole());
    add(pack, pack.whole(), pack.n);
    return total;
}
template <class Pack, class V>
inline V join_sum(const Pack& pack, V sum) {
    return pack.join(sum, [](auto a, auto b) { return a + b; });
}
// The same of one vector, joined.
template <class Pack, class Term>
inline auto joined_sum_of(const Pack& pack, const Term& term) {
    return join_sum(pack, sum_of(pack, term));
}

// The axes other than the last of views of one shape, some without its last axis.
template <int count>
struct Heads {
    Nest nest;
    std::int64_t width, outer = 1;  // the innermost of these axes, and the product of the others
    bool along = true;              // the last axis is contiguous
    bool beside = true;             // the innermost of the others is, for views that have the last
    std::int64_t step[count];       // along the last axis; 0 where there is none

    Heads(const View* const (&views)[count], std::int64_t item) {
        View heads[count];
        const View* pointers[count];
        for (int k = 0; k < count; ++k) {
            const bool scalar = views[k]->ndim < views[0]->ndim;
            heads[k] = *views[k];
            heads[k].ndim = views[0]->ndim - 1;
            pointers[k] = &heads[k];
            step[k] = scalar ? 0 : stride(*views[k], -1);
            along = along && (scalar || step[k] == item);
        }
        nest = make_nest(pointers, count, count);
        const int inner = nest.ndim - 1;
        width = nest.shape[inner];
        for (int i = 0; i < inner; ++i) outer *= nest.shape[i];
        for (int k = 0; k < count; ++k)
            beside = beside &&
                     (views[k]->ndim < views[0]->ndim || nest.strides[inner][k] == item);
    }
    // The lines that begin at `first` of the innermost axis.
    void lines(Line (&out)[count], std::int64_t position, std::int64_t first) const {
        const int inner = nest.ndim - 1;
        char* data[kMaxOperands];
        nest_offsets(nest, inner, position, data);
        for (int k = 0; k < count; ++k) {
            const std::int64_t next = nest.strides[inner][k];
            out[k] = {data[k] + first * next, step[k], next};
        }
    }
};
constexpr std::int64_t kLineWork = 1 << 14;  // elements per chunk, at least

// Calls fn(pack, lines) for every line along the last axis of the views, which are of one shape
// apart from their last axis.
template <class T, class Fn, int count>
inline void for_lines(const View* const (&views)[count], const Fn& fn) {
    const std::int64_t n = dim(*views[0], -1);
    const Heads<count> heads(views, sizeof(T));
    const std::int64_t pack = heads.along ? 1 : kLanes<T>, packs = ceil_div(heads.width, pack);
    const std::int64_t grain = n * pack < kLineWork ? kLineWork / (n * pack) : 1;
    parallel_ranges(heads.outer * packs, grain, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
            const std::int64_t first = i % packs * pack, left = heads.width - first;
            Line lines[count];
            heads.lines(lines, i / packs, first);
            if (heads.along) {
                fn(Along<T>{n}, lines);
                continue;
            }
            fn(Across<T>{n, left < pack ? left : pack, heads.beside && left >= pack}, lines);
        }
    });
}

// Lines across rows of adjacent elements: calls fn(lines, n, columns) for strips of up to kStrip
// columns, so that memory is read in runs of cache lines. False where the layout is another.
constexpr std::int64_t kStrip = 128;
template <class T, class Fn, int count>
inline bool for_strips(const View* const (&views)[count], const Fn& fn) {
    const std::int64_t n = dim(*views[0], -1);
    const Heads<count> heads(views, sizeof(T));
    if (heads.along || !heads.beside || heads.width < kLanes<T>) return false;
    const std::int64_t strip = heads.width < kStrip ? heads.width : kStrip;
    const std::int64_t strips = ceil_div(heads.width, strip);
    const std::int64_t grain = n * strip < kLineWork ? kLineWork / (n * strip) : 1;
    parallel_ranges(heads.outer * strips, grain, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
            const std::int64_t first = i % strips * strip, left = heads.width - first;
            Line lines[count];
            heads.lines(lines, i / strips, first);
            fn(lines, n, left < strip ? left : strip);
        }
    });
    return true;
}

}  // namespace
}  // namespace babygrad::BABYGRAD_TARGET
