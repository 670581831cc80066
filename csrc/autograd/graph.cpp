#include "autograd/graph.h"

#include <structmember.h>

#include <string>

namespace babygrad::bind {

Graph graph;

Slot::Slot(py::handle cls, const char* name) {
    const py::object descriptor = cls.attr(name);
    if (Py_TYPE(descriptor.ptr()) != &PyMemberDescr_Type)
        throw py::type_error(std::string("babygrad._core: no slot ") + name);
    offset_ = reinterpret_cast<PyMemberDescrObject*>(descriptor.ptr())->d_member->offset;
}

PyObject* new_tensor(PyObject* data, PyObject* node, PyObject* device, PyObject* version) {
    PyObject* tensor = graph.tensor->tp_alloc(graph.tensor, 0);
    if (!tensor) return nullptr;
    graph.data.set(tensor, data);
    graph.node_of.set(tensor, node);
    graph.requires_grad.set(tensor, node == Py_None ? Py_False : Py_True);
    graph.device.set(tensor, device);
    graph.version.set(tensor, version);
    graph.grad.set(tensor, Py_None);
    graph.hooks.set(tensor, Py_None);
    return tensor;
}

namespace {

PyObject* kept_alive(py::handle object) { return object.inc_ref().ptr(); }

void find_slots(const py::object& function, const py::object& node, const py::object& tensor,
                const py::object& device) {
    graph.backend_of_device = Slot(device, "backend");
    graph.xp = Slot(function, "xp");
    graph.data = Slot(tensor, "_data");
    graph.device = Slot(tensor, "_device");
    graph.grad = Slot(tensor, "_grad");
    graph.hooks = Slot(tensor, "_hooks");
    graph.node_of = Slot(tensor, "_node");
    graph.requires_grad = Slot(tensor, "_requires_grad");
    graph.version = Slot(tensor, "_version");
    graph.n_device = Slot(node, "_device");
    graph.n_hooks = Slot(node, "_hooks");
    graph.n_inputs = Slot(node, "_inputs");
    graph.n_kept = Slot(node, "_kept");
    graph.n_needs = Slot(node, "_needs");
    graph.n_op = Slot(node, "_op");
    graph.n_output = Slot(node, "_output");
    graph.n_serial = Slot(node, "_serial");
    graph.n_dtype = Slot(node, "dtype");
    graph.n_grad = Slot(node, "grad");
    graph.n_shape = Slot(node, "shape");
}

}  // namespace

void init_graph(const py::object& function, const py::object& node, const py::object& tensor,
                const py::object& device, const py::object& state, const py::object& half,
                const py::object& forget_dead) {
    find_slots(function, node, tensor, device);
    graph.tensor = reinterpret_cast<PyTypeObject*>(kept_alive(tensor));
    graph.node = reinterpret_cast<PyTypeObject*>(kept_alive(node));
    graph.local = kept_alive(state.attr("local"));
    graph.clock = kept_alive(state.attr("clock"));
    graph.half = kept_alive(half);
    graph.forget_dead = kept_alive(forget_dead);
    graph.zero = PyLong_FromLong(0);
    graph.empty = PyTuple_New(0);
    graph.forward = PyUnicode_InternFromString("forward");
    graph.backward = PyUnicode_InternFromString("backward");
    graph.plan = PyUnicode_InternFromString("_plan");
    graph.plans = PyUnicode_InternFromString("_plans");
    graph.differentiable = PyUnicode_InternFromString("differentiable");
    graph.grad_enabled = PyUnicode_InternFromString("grad_enabled");
    graph.device_name = PyUnicode_InternFromString("device");
    graph.astype = PyUnicode_InternFromString("astype");
    graph.check_versions = PyUnicode_InternFromString("check_versions");
}

}  // namespace babygrad::bind
