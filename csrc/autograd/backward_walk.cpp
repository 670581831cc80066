// The native twin of _walk in babygrad/engine.py, for the pass that writes into .grad.
//
// The Python function is the definition: collect the vertices that the root depends on, check that
// what they saved is unchanged, then visit them from the youngest to the oldest. Rare turns (a
// hook, a gradient to sum or to cast, a complaint) call that module's functions.
#include <algorithm>
#include <unordered_map>
#include <vector>

#include "bind/bind.h"
#include "autograd/graph.h"

namespace babygrad::bind {
namespace {

using py::detail::npy_api;

constexpr Py_ssize_t kMaxInputs = 63;  // more do not fit the bits of a node's `needs`

// The definition's functions for what is rare.
struct Helpers {
    PyObject *partial_gradient, *check_node, *check_gradients, *run_hooks, *adapt, *accumulate;
};
Helpers helpers;
PyObject* add_to;  // the name of a method of partial_gradient

struct NotCovered {};

// A place of the graph, a Node or a leaf Tensor, with what it has received so far.
struct Vertex {
    py::object object;
    long long serial;  // 0 for leaves, which are older than every operation
    py::object gradient;
    bool owned;  // the gradient was made here, by an addition, and may be added into
};

py::object checked(PyObject* new_reference) {
    if (!new_reference) throw py::error_already_set();
    return py::reinterpret_steal<py::object>(new_reference);
}

// The result of a call that may run Python code.
template <class Fn, class... Args>
py::object called(const Fn& fn, const Args&... args) {
    return checked(at_rest_after_exit([&] { return fn(args...); }));
}

bool is_node(PyObject* object) { return Py_TYPE(object) == graph.node; }

// What stands for an input in the graph: its node, or the leaf itself.
PyObject* vertex_of(PyObject* source) {
    if (is_node(source)) return source;
    PyObject* node = graph.node_of.of(source);
    return node == Py_None ? source : node;
}

PyObject* array_of(const py::object& tensor) { return graph.data.of(tensor.ptr()); }

bool written_after(PyObject* version, long long serial) {
    return PyLong_AsLongLong(PyList_GET_ITEM(version, 0)) > serial;
}

// Whether the node was freed or something that its gradient reads has been modified since.
bool is_stale(PyObject* node, long long serial) {
    if (graph.n_op.of(node) == Py_None) return true;
    PyObject* inputs = graph.n_inputs.of(node);
    PyObject* kept = graph.n_kept.of(node);
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(inputs); ++i)
        if (PyTuple_GET_ITEM(kept, i) == Py_True &&
            written_after(graph.version.of(PyTuple_GET_ITEM(inputs, i)), serial))
            return true;
    PyObject* output = graph.n_output.of(node);
    return output != Py_None && written_after(PyTuple_GET_ITEM(output, 1), serial);
}

// Whether nobody else can see the gradient's memory, so that `.grad` may take it over.
bool is_sole(const py::object& gradient) {
    PyObject* array = array_of(gradient);
    if (Py_REFCNT(gradient.ptr()) > 1 || Py_REFCNT(array) > 1) return false;
    PyObject* base = proxy(array)->base;
    if (!base || is_block(base)) return true;
    return is_ndarray(base) && Py_REFCNT(base) == 1 &&
           (proxy(array)->flags & npy_api::NPY_ARRAY_WRITEABLE_) &&
           py::handle(base).attr("nbytes").equal(py::handle(array).attr("nbytes"));
}

// Whether a leaf's gradient is of the type of what comes, and not one that was assigned read-only.
bool can_hold_sum(PyObject* held, PyObject* array) {
    return is_ndarray(held) && proxy(held)->descr == proxy(array)->descr &&
           (proxy(held)->flags & npy_api::NPY_ARRAY_WRITEABLE_);
}

bool same_shape_and_type(PyObject* array, PyObject* source) {
    const auto* a = proxy(array);
    if (!is_node(source)) {
        const auto* b = proxy(graph.data.of(source));
        return a->descr == b->descr && a->nd == b->nd &&
               std::equal(a->dimensions, a->dimensions + a->nd, b->dimensions);
    }
    PyObject* shape = graph.n_shape.of(source);
    if (a->descr != graph.n_dtype.of(source) || a->nd != PyTuple_GET_SIZE(shape)) return false;
    for (int i = 0; i < a->nd; ++i)
        if (a->dimensions[i] != PyLong_AsSsize_t(PyTuple_GET_ITEM(shape, i))) return false;
    return true;
}

class Walk {
public:
    explicit Walk(PyObject* root);
    void run(PyObject* root, const py::object& seed, bool retain_graph);

private:
    void add(PyObject* object);
    void visit(Vertex& vertex);
    void deposit(PyObject* object, const py::object& gradient);
    py::object gradients_of(PyObject* node, const py::object& gradient);
    void pass_on(PyObject* node, const py::object& gradients);
    void contribute(Vertex& target, py::object gradient);
    void contribute_part(Vertex& target, PyObject* part);

    std::vector<Vertex> vertices_;
    std::unordered_map<PyObject*, std::size_t> index_;
    PyObject* device_ = nullptr;
};

void Walk::add(PyObject* object) {
    if (!index_.emplace(object, vertices_.size()).second) return;
    long long serial = 0;
    if (is_node(object)) {
        serial = PyLong_AsLongLong(graph.n_serial.of(object));
        if (is_stale(object, serial)) called(PyObject_CallOneArg, helpers.check_node, object);
        if (PyTuple_GET_SIZE(graph.n_inputs.of(object)) > kMaxInputs) throw NotCovered();
    }
    vertices_.push_back({py::reinterpret_borrow<py::object>(object), serial, {}, false});
}

// Collects every vertex that the root depends on, oldest first.
Walk::Walk(PyObject* root) {
    add(vertex_of(root));
    for (std::size_t next = 0; next < vertices_.size(); ++next) {
        PyObject* node = vertices_[next].object.ptr();
        if (!is_node(node)) continue;
        PyObject* inputs = graph.n_inputs.of(node);
        const unsigned long long needs = PyLong_AsUnsignedLongLong(graph.n_needs.of(node));
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(inputs); ++i)
            if (needs >> i & 1) add(vertex_of(PyTuple_GET_ITEM(inputs, i)));
    }
    std::stable_sort(vertices_.begin(), vertices_.end(),
                     [](const Vertex& a, const Vertex& b) { return a.serial < b.serial; });
    for (std::size_t i = 0; i < vertices_.size(); ++i) index_[vertices_[i].object.ptr()] = i;
}

void Walk::run(PyObject* root, const py::object& seed, bool retain_graph) {
    contribute(vertices_[index_.at(vertex_of(root))], seed);
    for (std::size_t i = vertices_.size(); i-- > 0;) {
        Vertex& vertex = vertices_[i];
        PyObject* object = vertex.object.ptr();
        if (vertex.gradient) visit(vertex);
        if (!retain_graph && is_node(object)) {
            graph.n_op.replace(object, Py_None);
            graph.n_inputs.replace(object, graph.empty);
            graph.n_output.replace(object, Py_None);
        }
        vertex.object = {};  // activations are freed while the pass goes on
    }
}

void Walk::visit(Vertex& vertex) {
    PyObject* object = vertex.object.ptr();
    py::object gradient = std::move(vertex.gradient);
    PyObject* hooks = is_node(object) ? graph.n_hooks.of(object) : graph.hooks.of(object);
    if (hooks != Py_None)
        gradient = called(PyObject_CallFunctionObjArgs, helpers.run_hooks, object, gradient.ptr(), nullptr);
    deposit(object, gradient);
    if (is_node(object)) pass_on(object, gradients_of(object, gradient));
}

void Walk::deposit(PyObject* object, const py::object& gradient) {
    PyObject* array = array_of(gradient);
    const Slot& slot = is_node(object) ? graph.n_grad : graph.grad;
    PyObject* held = slot.of(object);
    if (held == Py_None && (is_node(object) || is_sole(gradient))) {
        slot.replace(object, array);
    } else if (held == Py_None) {
        constexpr int keep_order = 2;
        slot.replace(object,
                     called(npy_api::get().PyArray_NewCopy_, array, keep_order).ptr());
    } else {
        // The array of a node may be shared with other tensors; a leaf's belongs to it.
        const py::object sum =
            is_node(object)             ? called(PyNumber_Add, held, array)
            : can_hold_sum(held, array) ? called(PyNumber_InPlaceAdd, held, array)
                                        : called(PyObject_CallFunctionObjArgs, helpers.accumulate,
                                                 held, array, nullptr);
        slot.replace(object, sum.ptr());
    }
}

py::object Walk::gradients_of(PyObject* node, const py::object& gradient) {
    PyObject* device = graph.n_device.of(node);
    if (device != device_) {
        // What a book's backward creates, `Tensor(2.0)` for one, must live where its inputs live.
        const auto set = [&] { return PyObject_SetAttr(graph.local, graph.device_name, device); };
        if (at_rest_after_exit(set) < 0) throw py::error_already_set();
        device_ = device;
    }
    PyObject* output = graph.n_output.of(node);
    const py::object seen =
        output == Py_None
            ? py::reinterpret_borrow<py::object>(node)
            : checked(new_tensor(PyTuple_GET_ITEM(output, 0), node, device,
                                 PyTuple_GET_ITEM(output, 1)));
    PyObject* args[] = {graph.n_op.of(node), gradient.ptr(), seen.ptr()};
    py::object result = called(PyObject_VectorcallMethod, graph.backward, args, 3, nullptr);
    return PyTuple_Check(result.ptr()) ? result : py::make_tuple(result);
}

void Walk::pass_on(PyObject* node, const py::object& gradients) {
    PyObject* inputs = graph.n_inputs.of(node);
    const Py_ssize_t count = PyTuple_GET_SIZE(inputs);
    if (PyTuple_GET_SIZE(gradients.ptr()) != count)
        called(PyObject_CallFunctionObjArgs, helpers.check_gradients, node, gradients.ptr(), nullptr);
    const unsigned long long needs = PyLong_AsUnsignedLongLong(graph.n_needs.of(node));
    for (Py_ssize_t i = 0; i < count; ++i) {
        PyObject* given = PyTuple_GET_ITEM(gradients.ptr(), i);
        if (!(needs >> i & 1) || given == Py_None) continue;
        PyObject* source = PyTuple_GET_ITEM(inputs, i);
        if (reinterpret_cast<PyObject*>(Py_TYPE(given)) == helpers.partial_gradient) {
            contribute_part(vertices_[index_.at(vertex_of(source))], given);
            continue;
        }
        if (!is_tensor(given))
            called(PyObject_CallFunctionObjArgs, helpers.check_gradients, node, gradients.ptr(),
                   nullptr);
        py::object gradient = py::reinterpret_borrow<py::object>(given);
        if (!same_shape_and_type(array_of(gradient), source))
            gradient = called(PyObject_CallFunctionObjArgs, helpers.adapt, given, source, node, nullptr);
        contribute(vertices_[index_.at(vertex_of(source))], std::move(gradient));
    }
}

void Walk::contribute(Vertex& target, py::object gradient) {
    if (!target.gradient) {
        target.gradient = std::move(gradient);
    } else if (target.owned) {
        PyObject* held = target.gradient.ptr();
        const py::object sum =
            called(PyNumber_InPlaceAdd, graph.data.of(held), array_of(gradient));
        graph.data.replace(held, sum.ptr());
    } else {
        target.gradient = called(PyNumber_Add, target.gradient.ptr(), gradient.ptr());
        target.owned = true;
    }
}

// A gradient that is zero outside of one region of the target.
void Walk::contribute_part(Vertex& target, PyObject* part) {
    PyObject* args[] = {part, target.gradient ? target.gradient.ptr() : Py_None,
                        target.owned ? Py_True : Py_False};
    target.gradient = called(PyObject_VectorcallMethod, add_to, args, 3, nullptr);
    target.owned = true;
}

// False when the definition has to do it; nothing has happened then.
bool backward_walk(const py::object& root, py::object seed, bool retain_graph) {
    try {
        Walk walk(root.ptr());
        walk.run(root.ptr(), seed, retain_graph);
    } catch (const NotCovered&) {
        return false;
    }
    return true;
}

}  // namespace

void register_backward_walk(py::module_& m) {
    m.def("init_backward_walk",
          [](const py::object& partial_gradient, const py::object& check_node,
             const py::object& check_gradients, const py::object& run_hooks,
             const py::object& adapt, const py::object& accumulate) {
              helpers = {partial_gradient.inc_ref().ptr(), check_node.inc_ref().ptr(),
                         check_gradients.inc_ref().ptr(), run_hooks.inc_ref().ptr(),
                         adapt.inc_ref().ptr(), accumulate.inc_ref().ptr()};
              add_to = PyUnicode_InternFromString("add_to");
          });
    m.def("backward_walk", &backward_walk, py::arg("root"), py::arg("seed"),
          py::arg("retain_graph"), "Does what babygrad.engine._walk does for Tensor.backward.");
}

}  // namespace babygrad::bind
