// Optimizer steps: one pass over the parameters and their state, no temporaries, in the order of
// operations of the composed definitions. Cost: memory bandwidth.
#include "kernels/optimizer/optimizer.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "simd/vec.h"

namespace babygrad::BABYGRAD_TARGET {
namespace {

// Calls fn with references to the operands' elements; dense rows apart, so that they vectorise.
template <class T, int count, class Fn>
inline void for_elements(const LoopArgs& args, const Fn& fn) {
    bool dense = true;
    for (int k = 0; k < count; ++k) dense = dense && args.step[k] == sizeof(T);
    for (std::int64_t row = 0; row < args.rows; ++row) {
        char* at[count];
        for (int k = 0; k < count; ++k) at[k] = args.data[k] + row * args.row_step[k];
        T* __restrict p[count];
        for (int k = 0; k < count; ++k) p[k] = reinterpret_cast<T*>(at[k]);
        if (dense) {
            BABYGRAD_INDEPENDENT
            for (std::int64_t i = 0; i < args.n; ++i) {
                if constexpr (count == 2) fn(p[0][i], p[1][i]);
                if constexpr (count == 3) fn(p[0][i], p[1][i], p[2][i]);
                if constexpr (count == 4) fn(p[0][i], p[1][i], p[2][i], p[3][i]);
            }
            continue;
        }
        for (std::int64_t i = 0; i < args.n; ++i) {
            T* e[count];
            for (int k = 0; k < count; ++k) e[k] = reinterpret_cast<T*>(at[k] + i * args.step[k]);
            if constexpr (count == 2) fn(*e[0], *e[1]);
            if constexpr (count == 3) fn(*e[0], *e[1], *e[2]);
            if constexpr (count == 4) fn(*e[0], *e[1], *e[2], *e[3]);
        }
    }
}

// What the definition's _add_squares does, for one element. A finite gradient counts as at most
// `limit`, whose weighted square just fits: an infinite v would never let the parameter move again.
template <class T>
struct Squares {
    static constexpr T kLargest = std::numeric_limits<T>::max();
    T decay, weight, limit;

    Squares(double decay, double weight)
        : decay(static_cast<T>(decay)),
          weight(static_cast<T>(weight)),
          limit(std::min(std::sqrt(kLargest) / std::sqrt(this->weight), kLargest)) {}

    T bounded(T g) const {
        const T within = std::min(std::max(g, -limit), limit);
        return std::fabs(g) <= kLargest ? within : g;
    }
    T added(T v, T g) const { return std::min(v * decay + (g * weight) * g, kLargest); }
};

template <class T>
void sgd(const LoopArgs& args) {
    const T lr = static_cast<T>(args.params[0]), decay = static_cast<T>(args.params[1]);
    for_elements<T, 2>(args, [=](T& p, T& g) { p -= (g + p * decay) * lr; });
}

template <class T>
void sgd_momentum(const LoopArgs& args) {
    const T lr = static_cast<T>(args.params[0]), decay = static_cast<T>(args.params[1]);
    const T momentum = static_cast<T>(args.params[2]);
    if (args.params[3] != 0) {
        const T ahead = static_cast<T>(args.params[0] * args.params[2]);
        for_elements<T, 3>(args, [=](T& p, T& g, T& buffer) {
            const T d = g + p * decay;
            buffer = buffer * momentum + d;
            p -= d * lr + buffer * ahead;
        });
        return;
    }
    for_elements<T, 3>(args, [=](T& p, T& g, T& buffer) {
        buffer = buffer * momentum + (g + p * decay);
        p -= buffer * lr;
    });
}

template <class T>
void adam(const LoopArgs& args) {
    const T step = static_cast<T>(args.params[0]);
    const T beta1 = static_cast<T>(args.params[1]), rest1 = static_cast<T>(1 - args.params[1]);
    const Squares<T> squares(args.params[2], 1 - args.params[2]);
    const T eps = static_cast<T>(args.params[3]), decay = static_cast<T>(args.params[4]);
    const T shrink = static_cast<T>(args.params[5]), root_scale = static_cast<T>(args.params[6]);
    for_elements<T, 4>(args, [=](T& p, T& g, T& m, T& v) {
        const T d = squares.bounded(g + p * decay);
        m = m * beta1 + d * rest1;
        v = squares.added(v, d);
        p = p * shrink - m * step / (std::sqrt(v) * root_scale + eps);
    });
}

template <class T>
void rmsprop(const LoopArgs& args) {
    const T lr = static_cast<T>(args.params[0]), decay = static_cast<T>(args.params[1]);
    const Squares<T> squares(args.params[2], args.params[3]);
    const T eps = static_cast<T>(args.params[4]);
    for_elements<T, 3>(args, [=](T& p, T& g, T& v) {
        const T d = squares.bounded(g + p * decay);
        v = squares.added(v, d);
        p -= d / (std::sqrt(v) + eps) * lr;
    });
}

template <class T>
void rmsprop_momentum(const LoopArgs& args) {
    const T lr = static_cast<T>(args.params[0]), decay = static_cast<T>(args.params[1]);
    const Squares<T> squares(args.params[2], args.params[3]);
    const T eps = static_cast<T>(args.params[4]), momentum = static_cast<T>(args.params[5]);
    for_elements<T, 4>(args, [=](T& p, T& g, T& v, T& buffer) {
        const T d = squares.bounded(g + p * decay);
        v = squares.added(v, d);
        buffer = buffer * momentum + d / (std::sqrt(v) + eps);
        p -= buffer * lr;
    });
}

}  // namespace

void fill(OptimizerKernels& table) {
    table.sgd[0] = sgd<float>;
    table.sgd[1] = sgd<double>;
    table.sgd_momentum[0] = sgd_momentum<float>;
    table.sgd_momentum[1] = sgd_momentum<double>;
    table.adam[0] = adam<float>;
    table.adam[1] = adam<double>;
    table.rmsprop[0] = rmsprop<float>;
    table.rmsprop[1] = rmsprop<double>;
    table.rmsprop_momentum[0] = rmsprop_momentum<float>;
    table.rmsprop_momentum[1] = rmsprop_momentum<double>;
}

}  // namespace babygrad::BABYGRAD_TARGET
