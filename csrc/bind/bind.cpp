#include "bind/bind.h"

#include <pybind11/stl.h>

#include <cstdarg>
#include <cstdio>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "runtime/threads.h"

namespace babygrad::bind {
namespace {

constexpr int kMaxParameters = 16;

struct Signature {
    std::string name;
    PyObject* (*run)(PyObject* const* args);
    std::vector<PyObject*> parameters;  // interned strings
    int required = 0;
};

// Never destroyed, as the builtins made from it may be called until the interpreter ends.
std::map<std::string, Signature>& signatures() {
    static auto* const all = new std::map<std::string, Signature>;
    return *all;
}

// The `__self__` of a bound builtin.
struct Bound {
    PyObject_HEAD
    const Signature* signature;
    PyObject* fallback;
    PyMethodDef method;
};

void bound_dealloc(PyObject* self) {
    Py_XDECREF(reinterpret_cast<Bound*>(self)->fallback);
    PyObject_Free(self);
}

PyObject* bound_fallback(PyObject* self, void*) {
    PyObject* fallback = reinterpret_cast<Bound*>(self)->fallback;
    Py_INCREF(fallback);
    return fallback;
}

PyGetSetDef bound_getset[] = {
    {"fallback", bound_fallback, nullptr, "Called for what the kernel does not cover.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyTypeObject bound_type{};

int find_parameter(const Signature& signature, PyObject* keyword) {
    const int count = static_cast<int>(signature.parameters.size());
    for (int i = 0; i < count; ++i)
        if (signature.parameters[i] == keyword) return i;
    for (int i = 0; i < count; ++i)
        if (PyUnicode_Compare(signature.parameters[i], keyword) == 0) return i;
    return -1;
}

// Puts positional and keyword arguments into the parameters' order. False with a TypeError set.
bool arrange(const Signature& signature, PyObject* const* args, Py_ssize_t positional,
             PyObject* keywords, PyObject** slots) {
    const char* name = signature.name.c_str();
    const auto count = static_cast<Py_ssize_t>(signature.parameters.size());
    if (positional > count) {
        PyErr_Format(PyExc_TypeError, "%s() takes %zd arguments but %zd were given", name, count,
                     positional);
        return false;
    }
    std::copy_n(args, positional, slots);
    std::fill(slots + positional, slots + count, nullptr);
    for (Py_ssize_t k = 0; keywords && k < PyTuple_GET_SIZE(keywords); ++k) {
        PyObject* keyword = PyTuple_GET_ITEM(keywords, k);
        const int i = find_parameter(signature, keyword);
        if (i < 0 || slots[i]) {
            PyErr_Format(PyExc_TypeError, "%s() got %s argument '%U'", name,
                         i < 0 ? "an unexpected keyword" : "multiple values for", keyword);
            return false;
        }
        slots[i] = args[positional + k];
    }
    for (int i = 0; i < signature.required; ++i) {
        if (slots[i]) continue;
        PyErr_Format(PyExc_TypeError, "%s() is missing its argument '%U'", name,
                     signature.parameters[i]);
        return false;
    }
    return true;
}

// What every call goes through: no allocation, no lookup.
PyObject* call(PyObject* self, PyObject* const* args, Py_ssize_t positional, PyObject* keywords) {
    const Bound* bound = reinterpret_cast<Bound*>(self);
    const Signature& signature = *bound->signature;
    PyObject* slots[kMaxParameters];
    PyObject* const* arranged = args;
    if (keywords || positional != static_cast<Py_ssize_t>(signature.parameters.size())) {
        if (!arrange(signature, args, positional, keywords, slots)) return nullptr;
        arranged = slots;
    }
    try {
        const FlushScope flush;
        PyObject* result = signature.run(arranged);
        if (result || PyErr_Occurred()) return result;
    } catch (py::error_already_set& error) {
        error.restore();
        return nullptr;
    } catch (const py::builtin_exception& error) {
        error.set_error();
        return nullptr;
    } catch (const std::bad_alloc&) {
        return PyErr_NoMemory();
    } catch (const std::exception& error) {
        PyErr_SetString(PyExc_RuntimeError, error.what());
        return nullptr;
    }
    return PyObject_Vectorcall(bound->fallback, args, static_cast<size_t>(positional), keywords);
}

py::object bind(const std::string& name, const py::function& fallback) {
    const auto found = signatures().find(name);
    if (found == signatures().end())
        throw py::key_error("babygrad._core has no kernel named '" + name + "'");
    Bound* bound = PyObject_New(Bound, &bound_type);
    if (!bound) throw py::error_already_set();
    bound->signature = &found->second;
    bound->fallback = py::object(fallback).release().ptr();
    bound->method = {found->first.c_str(), reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(call)),
                     METH_FASTCALL | METH_KEYWORDS, nullptr};
    const auto self = py::reinterpret_steal<py::object>(reinterpret_cast<PyObject*>(bound));
    PyObject* builtin = PyCFunction_New(&bound->method, self.ptr());
    if (!builtin) throw py::error_already_set();
    return py::reinterpret_steal<py::object>(builtin);
}

std::string format_message(const char* format, va_list args) {
    char text[512];
    std::vsnprintf(text, sizeof text, format, args);
    return text;
}

}  // namespace

void add_entry(const Entry& entry) {
    Signature signature{entry.name, entry.run, {}, 0};
    std::istringstream parameters(entry.parameters);
    for (std::string word; parameters >> word;) {
        const bool optional = word.back() == '=';
        if (optional) word.pop_back();
        if (!optional) ++signature.required;
        signature.parameters.push_back(PyUnicode_InternFromString(word.c_str()));
    }
    if (signature.parameters.size() > kMaxParameters)
        throw std::logic_error(signature.name + ": too many parameters");
    signatures().emplace(entry.name, std::move(signature));
}

void value_error(const char* format, ...) {
    va_list args;
    va_start(args, format);
    const std::string text = format_message(format, args);
    va_end(args);
    throw py::value_error(text);
}

void index_error(const char* format, ...) {
    va_list args;
    va_start(args, format);
    const std::string text = format_message(format, args);
    va_end(args);
    throw py::index_error(text);
}

bool get_axis(PyObject* object, int ndim, int& axis) {
    std::int64_t value;
    if (!get_int(object, value) || value < -ndim || value >= ndim) return false;
    axis = static_cast<int>(value < 0 ? value + ndim : value);
    return true;
}

bool get_axes(PyObject* object, int ndim, unsigned& mask) {
    mask = (1U << ndim) - 1;
    if (!object || object == Py_None) return true;
    PyObject* const* items = &object;
    Py_ssize_t count = 1;
    if (PyTuple_CheckExact(object)) {
        count = PyTuple_GET_SIZE(object);
        items = &PyTuple_GET_ITEM(object, 0);
    }
    mask = 0;
    for (Py_ssize_t i = 0; i < count; ++i) {
        int axis;
        if (!get_axis(items[i], ndim, axis) || (mask & 1U << axis)) return false;
        mask |= 1U << axis;
    }
    return true;
}

void init_bind(py::module_& module) {
    Py_SET_REFCNT(reinterpret_cast<PyObject*>(&bound_type), 1);
    bound_type.tp_name = "babygrad._core.Bound";
    bound_type.tp_doc = "A kernel together with its fallback.";
    bound_type.tp_basicsize = sizeof(Bound);
    bound_type.tp_dealloc = bound_dealloc;
    bound_type.tp_getset = bound_getset;
    bound_type.tp_flags = Py_TPFLAGS_DEFAULT;
    if (PyType_Ready(&bound_type) < 0) throw py::error_already_set();
    module.def("bind", bind, py::arg("name"), py::arg("fallback"),
               "The kernel `name` as a builtin that calls `fallback` for what it does not cover.");
    module.def("names", [] {
        std::vector<std::string> names;
        for (const auto& entry : signatures()) names.push_back(entry.first);
        return names;
    }, "The kernels that `bind` knows.");
}

}  // namespace babygrad::bind
