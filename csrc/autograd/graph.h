// The autograd graph as C++ sees it: Tensor and Node are Python classes with __slots__, whose slots
// are read and written at the offsets that the classes' own member descriptors give.
#pragma once

#include <pybind11/numpy.h>

namespace babygrad::bind {

namespace py = pybind11;

// The offset of a slot in the instances of a class.
class Slot {
public:
    Slot() = default;
    Slot(py::handle cls, const char* name);
    PyObject*& of(PyObject* object) const {
        return *reinterpret_cast<PyObject**>(reinterpret_cast<char*>(object) + offset_);
    }
    // For a new object, whose slots are null.
    void set(PyObject* object, PyObject* value) const {
        Py_INCREF(value);
        of(object) = value;
    }
    void replace(PyObject* object, PyObject* value) const {
        PyObject* old = of(object);
        set(object, value);
        Py_XDECREF(old);
    }

private:
    Py_ssize_t offset_ = 0;
};

struct Graph {
    PyTypeObject* tensor;
    PyTypeObject* node;
    PyObject* local;       // the thread's state
    PyObject* clock;       // itertools.count
    PyObject* half;        // the dtype float16
    PyObject* forget_dead;  // of babygrad/_sharing.py
    PyObject *zero, *empty;
    PyObject *forward, *backward, *plan, *plans, *differentiable, *grad_enabled, *device_name,
        *astype, *check_versions;  // names
    Slot backend_of_device, xp;
    Slot data, device, grad, hooks, node_of, requires_grad, version;
    Slot n_device, n_hooks, n_inputs, n_kept, n_needs, n_op, n_output, n_serial, n_dtype, n_grad,
        n_shape;
};
extern Graph graph;

void init_graph(const py::object& function, const py::object& node, const py::object& tensor,
                const py::object& device, const py::object& state, const py::object& half,
                const py::object& forget_dead);

inline py::detail::PyArray_Proxy* proxy(PyObject* array) {
    return reinterpret_cast<py::detail::PyArray_Proxy*>(array);
}
inline bool is_ndarray(PyObject* object) {
    return Py_TYPE(object) == py::detail::npy_api::get().PyArray_Type_;
}
inline bool is_tensor(PyObject* object) { return PyObject_TypeCheck(object, graph.tensor); }

// A Tensor around an array; it requires grad when it has a node. A new reference, null on error.
PyObject* new_tensor(PyObject* data, PyObject* node, PyObject* device, PyObject* version);

}  // namespace babygrad::bind
