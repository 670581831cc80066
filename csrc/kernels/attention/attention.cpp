// Attention by tiles of 64 queries and 64 keys with a running maximum and sum (Dao et al., 2022), so
// the scores of a long sequence are never held whole. A unit of work is a tile of queries of a head
// in the forward direction. In the gradient it is a head, or of few heads a range of keys, each with
// a gq of its own; how many there are follows from the sizes, so that every sum has one order.
#include "kernels/attention/attention_tile.h"
#include "runtime/threads.h"

namespace babygrad::BABYGRAD_TARGET {
namespace {

template <class T>
constexpr T kNone = static_cast<T>(-__builtin_inf());

// Tasks of a gradient that has fewer heads, and a bound on the memory of their sums.
constexpr std::int64_t kTasks = 4;
constexpr std::int64_t kSumsBytes = 32 << 20;

// scores -> exp(scores - shift) for the visible ones and 0 for the others; returns their sum.
template <class T>
BABYGRAD_INLINE T exp_row(T* row, std::int64_t visible, std::int64_t n, T shift) {
    Vec<T> total{};
    std::int64_t j = 0;
    for (; j < visible; j += kLanes<T>) {
        const Vec<T> p = exp(load(row + j) - shift);
        store(row + j, p);
        total = total + p;
    }
    clear_hidden(row, j, visible, n);
    return sum_lanes(total);
}

// The running softmax of a tile of queries: the largest score so far, and the sum of exp(score -
// largest), of each.
template <class T>
struct Running {
    T largest[kTile], sum[kTile];

    Running() {
        std::fill_n(largest, kTile, kNone<T>);
        std::fill_n(sum, kTile, T(0));
    }

    // Takes a row of scores, which becomes their exponentials, and corrects that row of the output.
    void absorb(std::int64_t i, T* scores, std::int64_t visible, std::int64_t n,
                const Scratch<T>& out) {
        LargestLanes<T> most(largest[i]);
        for (std::int64_t j = 0; j < visible; j += kLanes<T>) most.take(load(scores + j));
        const T m = fold(most.lanes(), max_nan<T>);
        const T shift = m == kNone<T> ? 0 : m;
        if (largest[i] != kNone<T>) {
            const T correction = std::exp(largest[i] - shift);
            sum[i] *= correction;
            for (std::int64_t j = 0; j < out.ld; ++j) out.row(i)[j] *= correction;
        }
        sum[i] += exp_row(scores, visible, n, shift);
        largest[i] = m;
    }

    // The quotients of m rows and the logarithms of their sums: 0 and -inf where nothing was seen.
    void finish(std::int64_t m, const Scratch<T>& out, const Matrix<T>& y, std::int64_t columns,
                T* lse) const {
        for (std::int64_t i = 0; i < m; ++i) {
            const bool empty = largest[i] == kNone<T>;
            for (std::int64_t j = 0; j < columns; ++j)
                y.data[i * y.row + j] = empty ? 0 : out.row(i)[j] / sum[i];
        }
        for (std::int64_t i = 0; i < m; i += kLanes<T>) {
            const Vec<T> most = load(largest + i), none = splat(kNone<T>);
            store_part(lse + i, select(most == none, none, most + log(load(sum + i))),
                       std::min<std::int64_t>(m - i, kLanes<T>));
        }
    }
};

template <class T>
void attention_unit(const AttentionArgs& a, std::int64_t head, std::int64_t query) {
    const std::int64_t d = a.q.shape[3], e = a.v.shape[3], length = a.q.shape[2];
    const std::int64_t m = std::min(length - query, kTile), side = padded<T>(kTile);
    ScratchTiles<T> tiles(kTile * (padded<T>(d) + 2 * padded<T>(e) + side) + d * side);
    const Scratch<T> q_scratch = tiles.take(kTile, d), k_scratch = tiles.take(d, kTile);
    const Scratch<T> v_scratch = tiles.take(kTile, e), out = tiles.take(kTile, e);
    const Scratch<T> scores = tiles.take(kTile, kTile);
    Running<T> running;
    const auto q = left_of(matrix_of<T>(a.q, head).from(query), m, d, q_scratch);
    const std::int64_t all = a.k.shape[2], keys = a.causal ? std::min(all, query + m) : all;
    for (std::int64_t key = 0; key < keys; key += kTile) {
        const Block at{a.causal, head, query, m, key, std::min(keys - key, kTile)};
        const auto k = matrix_of<T>(a.k, head).from(key);
        tile_scores(a, at, scores, q, packed(k.transposed(), d, at.n, k_scratch));
        for (std::int64_t i = 0; i < m; ++i)
            running.absorb(i, scores.row(i), at.visible(i), at.n, out);
        const auto v = right_of(matrix_of<T>(a.v, head).from(key), at.n, e, v_scratch);
        multiply(out, matrix_of(scores), v, m, out.ld, key > 0, [&](std::int64_t i, int rows) {
            return Range{0, at.visible(i + rows - 1)};
        });
    }
    running.finish(m, out, matrix_of<T>(a.y, head).from(query), e,
                   data_as<T>(a.lse) + head * length + query);
}

template <class T>
void attention(const AttentionArgs& a) {
    const std::int64_t heads = a.q.shape[0] * a.q.shape[1], blocks = ceil_div(a.q.shape[2], kTile);
    parallel_for(heads * blocks, [&](std::int64_t i) {
        attention_unit<T>(a, i / blocks, i % blocks * kTile);
    });
}

// scores -> p = exp(scores - lse), and gp -> gs = p (gp - inner) scale; 0 where nothing is seen.
template <class T>
void score_gradients(const Block& at, const Scratch<T>& p, const Scratch<T>& gs, const T* lse,
                     const T* inner, T scale) {
    for (std::int64_t i = 0; i < at.m; ++i) {
        const std::int64_t visible = at.visible(i);
        T *p_row = p.row(i), *gs_row = gs.row(i);
        exp_row(p_row, visible, at.n, lse[i] == kNone<T> ? 0 : lse[i]);
        std::int64_t j = 0;
        for (; j < visible; j += kLanes<T>) {
            const Vec<T> found = load(p_row + j) * (load(gs_row + j) - inner[i]) * scale;
            store(gs_row + j, select(lanes_before<T>(j, visible), found, Vec<T>{}));
        }
        clear_hidden(gs_row, j, visible, at.n);
    }
}

// The first `columns` of a tile's rows, written or added to a matrix of adjacent columns.
template <class T>
void unpack(const Scratch<T>& tile, const Matrix<T>& to, std::int64_t rows, std::int64_t columns,
            bool accumulate) {
    for (std::int64_t i = 0; i < rows; ++i) {
        const T* from = tile.row(i);
        T* out = to.data + i * to.row;
        if (accumulate)
            for (std::int64_t j = 0; j < columns; ++j) out[j] += from[j];
        else
            std::memcpy(out, from, static_cast<std::size_t>(columns) * sizeof(T));
    }
}

template <class T>
void clear(const Matrix<T>& to, std::int64_t rows, std::int64_t columns) {
    for (std::int64_t i = 0; i < rows; ++i) std::fill_n(to.data + i * to.row, columns, T(0));
}

// sum(gy y) of each query of a head.
template <class T>
void inner_products(const AttentionGradArgs& g, std::int64_t head, T* inner) {
    const auto y = matrix_of<T>(g.forward.y, head), gy = matrix_of<T>(g.gy, head);
    const std::int64_t length = g.gy.shape[2], e = g.gy.shape[3];
    for (std::int64_t i = 0; i < length; ++i) {
        const T *y_row = y.data + i * y.row, *gy_row = gy.data + i * gy.row;
        Vec<T> total{};
        std::int64_t j = 0;
        if (gy.column == 1)
            for (; j + kLanes<T> <= e; j += kLanes<T>)
                total = fma(load(y_row + j), load(gy_row + j), total);
        inner[i] = sum_lanes(total);
        for (; j < e; ++j) inner[i] += y_row[j] * gy_row[j * gy.column];
    }
}

// The gradients of one head. Keys are the outer loop: those of k and v are finished one tile after
// the other, and gq is written by the tile of keys 0 and added to by the others.
template <class T>
class HeadGradients {
public:
    HeadGradients(const AttentionGradArgs& g, std::int64_t head, const Matrix<T>& gq)
        : g_(g), a_(g.forward), head_(head), d_(a_.q.shape[3]), e_(a_.v.shape[3]),
          length_(a_.q.shape[2]), gq_out_(gq),
          tiles_(kTile * (5 * padded<T>(d_) + 4 * padded<T>(e_) + 2 * padded<T>(kTile)) +
                 (d_ + e_) * padded<T>(kTile) + padded<T>(length_)),
          inner_(tiles_.take(1, length_).data) {}

    void run(std::int64_t first_key, std::int64_t last_key) {
        inner_products(g_, head_, inner_);
        for (std::int64_t key = first_key; key < last_key; key += kTile)
            key_tile(key, std::min(last_key - key, kTile));
    }

private:
    void key_tile(std::int64_t key, std::int64_t n) {
        const auto k = matrix_of<T>(a_.k, head_).from(key), v = matrix_of<T>(a_.v, head_).from(key);
        const auto gk_out = matrix_of<T>(g_.gk, head_).from(key);
        const auto gv_out = matrix_of<T>(g_.gv, head_).from(key);
        const std::int64_t begin = a_.causal ? key / kTile * kTile : 0;
        if (begin >= length_) {  // keys that no query sees
            clear(gk_out, n, d_);
            clear(gv_out, n, e_);
            return;
        }
        const KeyTile tile{right_of(k, n, d_, k_), packed(k.transposed(), d_, n, kt_),
                           packed(v.transposed(), e_, n, vt_), in_place(gk_out, d_, gk_),
                           in_place(gv_out, e_, gv_)};
        for (std::int64_t query = begin; query < length_; query += kTile)
            block({a_.causal, head_, query, std::min(length_ - query, kTile), key, n}, tile,
                  query > begin);
        if (tile.gk.data == gk_.data) unpack(gk_, gk_out, n, d_, false);
        if (tile.gv.data == gv_.data) unpack(gv_, gv_out, n, e_, false);
    }

    struct KeyTile {
        Right<T> k, k_transposed, v_transposed;
        Scratch<T> gk, gv;
    };

    // Rows of whole panels are written where they belong, others beside it.
    static Scratch<T> in_place(const Matrix<T>& out, std::int64_t columns, const Scratch<T>& own) {
        return columns % kTileColumns<T> == 0 ? Scratch<T>{out.data, out.row} : own;
    }

    void block(const Block& at, const KeyTile& tile, bool accumulate) {
        const auto q = matrix_of<T>(a_.q, head_).from(at.query);
        const auto gy = matrix_of<T>(g_.gy, head_).from(at.query);
        tile_scores(a_, at, p_, left_of(q, at.m, d_, q_left_), tile.k_transposed);
        multiply_visible(at, gs_, left_of(gy, at.m, e_, gy_left_), tile.v_transposed, e_);
        score_gradients(at, p_, gs_, data_as<T>(a_.lse) + head_ * length_ + at.query,
                        inner_ + at.query, static_cast<T>(a_.scale));
        const auto gq_out = gq_out_.from(at.query);
        const Scratch<T> gq = in_place(gq_out, d_, gq_);
        const bool later = at.key > 0, own = gq.data == gq_.data;
        multiply(gq, matrix_of(gs_), tile.k, at.m, padded<T>(d_), later && !own,
                 [&](std::int64_t i, int rows) { return Range{0, at.visible(i + rows - 1)}; });
        if (own) unpack(gq_, gq_out, at.m, d_, later);
        const auto seen_by = [&](std::int64_t j, int) { return Range{at.first(j), at.m}; };
        multiply(tile.gk, matrix_of(gs_).transposed(), right_of(q, at.m, d_, q_right_), at.n,
                 padded<T>(d_), accumulate, seen_by);
        multiply(tile.gv, matrix_of(p_).transposed(), right_of(gy, at.m, e_, gy_right_), at.n,
                 padded<T>(e_), accumulate, seen_by);
    }

    const AttentionGradArgs& g_;
    const AttentionArgs& a_;
    const std::int64_t head_, d_, e_, length_;
    const Matrix<T> gq_out_;
    ScratchTiles<T> tiles_;
    T* inner_;
    const Scratch<T> k_ = tiles_.take(kTile, d_), kt_ = tiles_.take(d_, kTile);
    const Scratch<T> vt_ = tiles_.take(e_, kTile);
    const Scratch<T> q_left_ = tiles_.take(kTile, d_), q_right_ = tiles_.take(kTile, d_);
    const Scratch<T> gy_left_ = tiles_.take(kTile, e_), gy_right_ = tiles_.take(kTile, e_);
    const Scratch<T> gq_ = tiles_.take(kTile, d_), gk_ = tiles_.take(kTile, d_);
    const Scratch<T> gv_ = tiles_.take(kTile, e_);
    const Scratch<T> p_ = tiles_.take(kTile, kTile), gs_ = tiles_.take(kTile, kTile);
};

// The keys of a head in `parts` ranges: one, or more of few heads.
template <class T>
void attention_grad(const AttentionGradArgs& g) {
    const std::int64_t heads = g.gq.shape[0] * g.gq.shape[1], keys = g.gk.shape[2];
    const std::int64_t length = g.gq.shape[2], d = g.gq.shape[3], size = length * d;
    const std::int64_t fitting = kSumsBytes / (heads * size * std::int64_t{sizeof(T)});
    const std::int64_t tiles = ceil_div(keys, kTile);
    const std::int64_t parts =
        std::max<std::int64_t>(1, std::min({kTasks / heads, fitting, tiles}));
    const std::int64_t range = ceil_div(tiles, parts) * kTile;
    Workspace sums(static_cast<std::size_t>(heads * (parts - 1) * size) * sizeof(T));
    const auto gq = [&](std::int64_t head, std::int64_t part) {
        if (part == 0) return matrix_of<T>(g.gq, head);
        return Matrix<T>{sums.as<T>() + (head * (parts - 1) + part - 1) * size, d, 1};
    };
    parallel_for(heads * parts, [&](std::int64_t task) {
        const std::int64_t head = task / parts, part = task % parts;
        const Matrix<T> out = gq(head, part);
        if (part > 0) std::fill_n(out.data, size, T(0));
        HeadGradients<T>(g, head, out).run(part * range, std::min(keys, (part + 1) * range));
    });
    if (parts == 1) return;
    parallel_ranges(heads * length, kTile, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t row = begin; row < end; ++row)
            for (std::int64_t part = 1; part < parts; ++part) {
                const Matrix<T> to = gq(row / length, 0).from(row % length);
                const Matrix<T> from = gq(row / length, part).from(row % length);
                for (std::int64_t j = 0; j < d; ++j) to.data[j] += from.data[j];
            }
    });
}

}  // namespace

void fill(AttentionKernels& table) {
    table.attention[0] = attention<float>;
    table.attention[1] = attention<double>;
    table.attention_grad[0] = attention_grad<float>;
    table.attention_grad[1] = attention_grad<double>;
}

}  // namespace babygrad::BABYGRAD_TARGET
