// Optimizer steps over all parameters in one call: their pieces go to the threads together.
#include <cmath>
#include <vector>

#include "bind/bind.h"
#include "runtime/loops.h"
#include "runtime/threads.h"

namespace babygrad::bind {
namespace {

constexpr std::int64_t kPiece = 1 << 14;  // elements
constexpr int kMaxParams = 7;

// One parameter with its gradient and state.
struct Item {
    View views[4];
    double params[kMaxParams];
};

struct Piece {
    const Item* item;
    Nest nest;
    std::int64_t begin, end;
};

// The arrays of several lists of one length, as items; the gradients, list 1, may be read-only.
bool get_items(PyObject* const* lists, int count, std::vector<Item>& items) {
    for (int k = 0; k < count; ++k)
        if (!PyList_CheckExact(lists[k]) || PyList_GET_SIZE(lists[k]) != PyList_GET_SIZE(lists[0]))
            return false;
    items.resize(static_cast<std::size_t>(PyList_GET_SIZE(lists[0])));
    for (std::size_t i = 0; i < items.size(); ++i) {
        for (int k = 0; k < count; ++k) {
            PyObject* object = PyList_GET_ITEM(lists[k], static_cast<Py_ssize_t>(i));
            View& view = items[i].views[k];
            if (!(k == 1 ? get_view(object, view) : get_writable_view(object, view))) return false;
            const View& first = items[i].views[0];
            if (!same_shape(view, first) || view.dtype != first.dtype) return false;
        }
        if (!is_floating(items[i].views[0].dtype)) return false;
    }
    return true;
}

// Parameters that lie in memory like their state become pieces of one job; others run by themselves.
void run_items(const std::vector<Item>& items, int count, const Loop (&loops)[2]) {
    std::vector<Piece> pieces;
    std::int64_t total = 0;
    for (const Item& item : items) total += size_of(item.views[0]);
    const WithoutGil nogil(static_cast<double>(total));
    for (const Item& item : items) {
        const View* views[4];
        for (int k = 0; k < count; ++k) views[k] = &item.views[k];
        const std::int64_t size = size_of(item.views[0]);
        if (size == 0) continue;
        const Nest nest = make_nest(views, count, count);
        if (nest.ndim > 1) {
            run_loop(loops[static_cast<int>(item.views[0].dtype)], views, count, kPiece,
                     item.params);
            continue;
        }
        for (std::int64_t begin = 0; begin < size; begin += kPiece)
            pieces.push_back({&item, nest, begin, std::min(size, begin + kPiece)});
    }
    const auto run = [&](std::int64_t i) {
        const Piece& piece = pieces[static_cast<std::size_t>(i)];
        LoopArgs args;
        for (int k = 0; k < count; ++k) {
            args.step[k] = piece.nest.strides[0][k];
            args.row_step[k] = 0;
            args.data[k] = piece.nest.data[k] + piece.begin * args.step[k];
        }
        args.n = piece.end - piece.begin;
        args.rows = 1;
        args.params = piece.item->params;
        loops[static_cast<int>(piece.item->views[0].dtype)](args);
    };
    const auto n = static_cast<std::int64_t>(pieces.size());
    if (total < 2 * kPiece) {
        for (std::int64_t i = 0; i < n; ++i) run(i);
    } else {
        parallel_for(n, run);
    }
}

PyObject* sgd_step(PyObject* const* args) {
    double lr, momentum, decay;
    bool nesterov;
    if (!get_number(args[3], lr) || !get_number(args[4], momentum) || !get_number(args[5], decay) ||
        !get_bool(args[6], nesterov))
        return kNotCovered;
    const int count = momentum != 0 ? 3 : 2;
    std::vector<Item> items;
    if (!get_items(args, count, items)) return kNotCovered;
    for (Item& item : items) {
        const double params[] = {lr, decay, momentum, nesterov ? 1.0 : 0.0};
        std::copy(std::begin(params), std::end(params), item.params);
    }
    const OptimizerKernels& table = kernels().optimizer;
    run_items(items, count, count == 3 ? table.sgd_momentum : table.sgd);
    Py_RETURN_NONE;
}

PyObject* adam_step(PyObject* const* args) {
    double lr, beta1, beta2, eps, decay;
    bool decoupled;
    if (!get_number(args[5], lr) || !get_number(args[6], beta1) || !get_number(args[7], beta2) ||
        !get_number(args[8], eps) || !get_number(args[9], decay) || !get_bool(args[10], decoupled))
        return kNotCovered;
    std::vector<Item> items;
    PyObject* steps = args[4];
    if (!get_items(args, 4, items) || !PyList_CheckExact(steps) ||
        PyList_GET_SIZE(steps) != static_cast<Py_ssize_t>(items.size()))
        return kNotCovered;
    for (std::size_t i = 0; i < items.size(); ++i) {
        double t;
        if (!get_number(PyList_GET_ITEM(steps, static_cast<Py_ssize_t>(i)), t)) return kNotCovered;
        const double params[] = {lr / (1 - std::pow(beta1, t)), beta1, beta2, eps,
                                 decoupled ? 0 : decay, decoupled ? 1 - lr * decay : 1,
                                 1 / std::sqrt(1 - std::pow(beta2, t))};
        std::copy(std::begin(params), std::end(params), items[i].params);
    }
    run_items(items, 4, kernels().optimizer.adam);
    Py_RETURN_NONE;
}

PyObject* run_rmsprop(PyObject* const* lists, const double (&params)[6]) {
    const bool with_momentum = params[5] != 0;
    const int count = with_momentum ? 4 : 3;
    std::vector<Item> items;
    if (!get_items(lists, count, items)) return kNotCovered;
    for (Item& item : items) std::copy(std::begin(params), std::end(params), item.params);
    const OptimizerKernels& table = kernels().optimizer;
    run_items(items, count, with_momentum ? table.rmsprop_momentum : table.rmsprop);
    Py_RETURN_NONE;
}

PyObject* rmsprop_step(PyObject* const* args) {
    double lr, alpha, eps, decay, momentum;
    if (!get_number(args[4], lr) || !get_number(args[5], alpha) || !get_number(args[6], eps) ||
        !get_number(args[7], decay) || !get_number(args[8], momentum))
        return kNotCovered;
    return run_rmsprop(args, {lr, decay, alpha, 1 - alpha, eps, momentum});
}

PyObject* adagrad_step(PyObject* const* args) {
    double lr, eps, decay;
    if (!get_number(args[3], lr) || !get_number(args[4], eps) || !get_number(args[5], decay))
        return kNotCovered;
    return run_rmsprop(args, {lr, decay, 1, 1, eps, 0});
}

}  // namespace

void register_optimizer() {
    add_entry({"sgd_step", "params grads buffers lr momentum weight_decay nesterov", sgd_step});
    add_entry({"adam_step", "params grads ms vs steps lr beta1 beta2 eps weight_decay decoupled",
               adam_step});
    add_entry({"rmsprop_step", "params grads vs buffers lr alpha eps weight_decay momentum",
               rmsprop_step});
    add_entry({"adagrad_step", "params grads vs lr eps weight_decay", adagrad_step});
}

}  // namespace babygrad::bind
