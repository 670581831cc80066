// Attention by tiles of 64 queries and 64 keys with a running maximum and sum (Dao et al., 2022), so
// the scores of a long sequence are never held whole. A unit of work is a tile of queries of a head in
// the forward direction and a head in the gradient, whose sums then have one order.
#include "kernels/attention_tile.h"
#include "targets/targets.h"
#include "threads.h"

namespace babygrad::BABYGRAD_TARGET {
namespace {

template <class T>
constexpr T kNone = static_cast<T>(-__builtin_inf());

// Hands out tiles of one workspace.
template <class T>
class Tiles {
public:
    explicit Tiles(std::int64_t elements)
        : workspace_(static_cast<std::size_t>(elements) * sizeof(T)), next_(workspace_.as<T>()) {}
    Tile<T> take(std::int64_t rows, std::int64_t columns) {
        const Tile<T> tile{next_, padded<T>(columns)};
        next_ += rows * tile.ld;
        return tile;
    }

private:
    Workspace workspace_;
    T* next_;
};

// scores -> exp(scores - shift); returns their sum.
template <class T>
T exp_row(T* row, std::int64_t n, T shift) {
    Vec<T> total{};
    for (std::int64_t j = 0; j < n; j += kLanes<T>) {
        const Vec<T> p = exp(load(row + j) - shift);
        store(row + j, p);
        total = total + p;
    }
    return sum_lanes(total);
}

// One row of the running softmax: takes a tile of scores into the maximum, the sum and the output.
template <class T>
void absorb_row(T* scores, std::int64_t n, T* out, std::int64_t e, T& largest, T& sum) {
    T m = largest;
    for (std::int64_t j = 0; j < n; ++j) m = scores[j] > m || scores[j] != scores[j] ? scores[j] : m;
    const T shift = m == kNone<T> ? 0 : m;
    const T correction = largest == kNone<T> ? 0 : std::exp(largest - shift);
    sum = sum * correction + exp_row(scores, n, shift);
    for (std::int64_t j = 0; j < e; ++j) out[j] *= correction;
    largest = m;
}

template <class T>
void attention_unit(const AttentionArgs& a, std::int64_t head, std::int64_t query) {
    const std::int64_t d = a.q.shape[3], e = a.v.shape[3], length = a.q.shape[2];
    const std::int64_t m = length - query < kTile ? length - query : kTile;
    Tiles<T> tiles(2 * (kTile + d) * padded<T>(kTile > d ? kTile : d) + 2 * kTile * padded<T>(e));
    const Tile<T> q = tiles.take(kTile, d), kt = tiles.take(d, kTile);
    const Tile<T> scores = tiles.take(kTile, kTile);
    const Tile<T> v = tiles.take(kTile, e), out = tiles.take(kTile, e);
    T largest[kTile], sum[kTile];
    for (std::int64_t i = 0; i < m; ++i) {
        largest[i] = kNone<T>;
        sum[i] = 0;
    }
    pack(q, matrix_of(a.q, head), query, m, d);
    out.zero(m);
    const std::int64_t keys = visible_keys(a, query + m);
    for (std::int64_t key = 0; key < keys; key += kTile) {
        const std::int64_t n = keys - key < kTile ? keys - key : kTile;
        pack_transposed(kt, matrix_of(a.k, head), key, n, d);
        pack(v, matrix_of(a.v, head), key, n, e);
        tile_scores(a, {head, query, m, key, n}, scores, q, kt);
        for (std::int64_t i = 0; i < m; ++i)
            absorb_row(scores.row(i), scores.ld, out.row(i), out.ld, largest[i], sum[i]);
        add_product(out, scores, v, m, n);
    }
    T* y = data_as<T>(a.y) + (head * length + query) * e;
    for (std::int64_t i = 0; i < m; ++i) {
        const bool empty = largest[i] == kNone<T>;
        for (std::int64_t j = 0; j < e; ++j) y[i * e + j] = empty ? 0 : out.row(i)[j] / sum[i];
        data_as<T>(a.lse)[head * length + query + i] =
            empty ? kNone<T> : largest[i] + std::log(sum[i]);
    }
}

template <class T>
void attention(const AttentionArgs& a) {
    const std::int64_t heads = a.q.shape[0] * a.q.shape[1], blocks = ceil_div(a.q.shape[2], kTile);
    parallel_for(heads * blocks, [&](std::int64_t i) {
        attention_unit<T>(a, i / blocks, i % blocks * kTile);
    });
}

// scores -> p = exp(scores - lse), and gp -> gs = p (gp - inner) scale.
template <class T>
void score_gradients(const Tile<T>& p, const Tile<T>& gs, std::int64_t m, const T* lse,
                     const T* inner, T scale) {
    for (std::int64_t i = 0; i < m; ++i) {
        exp_row(p.row(i), p.ld, lse[i] == kNone<T> ? 0 : lse[i]);
        for (std::int64_t j = 0; j < p.ld; ++j)
            gs.row(i)[j] = p.row(i)[j] * (gs.row(i)[j] - inner[i]) * scale;
    }
}

template <class T>
void unpack(const Tile<T>& tile, T* to, std::int64_t rows, std::int64_t columns) {
    for (std::int64_t i = 0; i < rows; ++i)
        for (std::int64_t j = 0; j < columns; ++j) to[i * columns + j] += tile.row(i)[j];
}

template <class T>
void head_gradients(const AttentionGradArgs& g, std::int64_t head) {
    const AttentionArgs& a = g.forward;
    const std::int64_t d = a.q.shape[3], e = a.v.shape[3], length = a.q.shape[2];
    const std::int64_t keys_total = a.k.shape[2], side = padded<T>(kTile);
    Tiles<T> tiles(6 * kTile * (padded<T>(d) + padded<T>(e)) + (d + e) * side + 4 * kTile * side);
    const Tile<T> q = tiles.take(kTile, d), k = tiles.take(kTile, d), gy = tiles.take(kTile, e);
    const Tile<T> kt = tiles.take(d, kTile), vt = tiles.take(e, kTile);
    const Tile<T> p = tiles.take(kTile, kTile), gs = tiles.take(kTile, kTile);
    const Tile<T> pt = tiles.take(kTile, kTile), gst = tiles.take(kTile, kTile);
    const Tile<T> gq = tiles.take(kTile, d), gk = tiles.take(kTile, d), gv = tiles.take(kTile, e);
    for (std::int64_t query = 0; query < length; query += kTile) {
        const std::int64_t m = length - query < kTile ? length - query : kTile;
        pack(q, matrix_of(a.q, head), query, m, d);
        pack(gy, matrix_of(g.gy, head), query, m, e);
        gq.zero(m);
        const T* y = data_as<T>(a.y) + (head * length + query) * e;
        T inner[kTile];
        for (std::int64_t i = 0; i < m; ++i) {
            inner[i] = 0;
            for (std::int64_t j = 0; j < e; ++j) inner[i] += gy.row(i)[j] * y[i * e + j];
        }
        const std::int64_t keys = visible_keys(a, query + m);
        for (std::int64_t key = 0; key < keys; key += kTile) {
            const std::int64_t n = keys - key < kTile ? keys - key : kTile;
            pack(k, matrix_of(a.k, head), key, n, d);
            pack_transposed(kt, matrix_of(a.k, head), key, n, d);
            pack_transposed(vt, matrix_of(a.v, head), key, n, e);
            tile_scores(a, {head, query, m, key, n}, p, q, kt);
            gs.zero(m);
            add_product(gs, gy, vt, m, e);
            score_gradients(p, gs, m, data_as<T>(a.lse) + head * length + query, inner,
                            static_cast<T>(a.scale));
            transpose(pt, p, m, n);
            transpose(gst, gs, m, n);
            add_product(gq, gs, k, m, n);
            gk.zero(n);
            gv.zero(n);
            add_product(gk, gst, q, n, m);
            add_product(gv, pt, gy, n, m);
            unpack(gk, data_as<T>(g.gk) + (head * keys_total + key) * d, n, d);
            unpack(gv, data_as<T>(g.gv) + (head * keys_total + key) * e, n, e);
        }
        unpack(gq, data_as<T>(g.gq) + (head * length + query) * d, m, d);
    }
}

template <class T>
void attention_grad(const AttentionGradArgs& g) {
    const View& q = g.forward.q;
    parallel_for(q.shape[0] * q.shape[1], [&](std::int64_t head) { head_gradients<T>(g, head); });
}

}  // namespace

void fill(AttentionKernels& table) {
    table.attention[0] = attention<float>;
    table.attention[1] = attention<double>;
    table.attention_grad[0] = attention_grad<float>;
    table.attention_grad[1] = attention_grad<double>;
}

}  // namespace babygrad::BABYGRAD_TARGET
