// How a kernel becomes a function of `babygrad._core`.
//
// To add one: give the kernel a slot in its family's table (csrc/kernels/<family>.h) and fill it;
// write here, in csrc/bind/<family>.cpp, a function
//
//     PyObject* square(PyObject* const* args) {
//         View x;
//         if (!get_view(args[0], x) || !is_floating(x.dtype)) return kNotCovered;
//         Result y(x.dtype, x.ndim, x.shape);
//         { WithoutGil nogil(size_of(x)); kernels().family.square(x, y.view()); }
//         return y.take();
//     }
//
// and list it in that file's register function: `add_entry({"square", "x", square})`. Python then
// has `_core.bind("square", reference.square)`.
//
// The contract of such a function: `args` holds one pointer per declared parameter, null where an
// optional one was left out. It returns a new reference, or kNotCovered, before any side effect, for
// what it leaves to the fallback, which is then called with the same arguments: other dtypes and
// subclasses, and also wrong shapes and axes, so that every backend raises the reference's message.
// Where the fallback would not raise, it throws, and the message names the operation. Everything a
// kernel relies on (shapes, dtypes, index ranges) is checked before WithoutGil.
#pragma once

#include "bind/array.h"
#include "runtime/dispatch.h"

namespace babygrad::bind {

constexpr PyObject* kNotCovered = nullptr;

struct Entry {
    const char* name;
    const char* parameters;  // "x axis= keepdims=": in order, optional ones with a '='
    PyObject* (*run)(PyObject* const* args);
};
void add_entry(const Entry& entry);

// The binding files; each has a function register_<file> that lists its entries.
#define BABYGRAD_BINDINGS(X)                                                          \
    X(elementwise) X(select) X(reduce) X(softmax) X(optimizer) X(norm)                \
    X(pooling) X(scatter) X(attention) X(linalg) X(conv)
#define BABYGRAD_DECLARE(file) void register_##file();
BABYGRAD_BINDINGS(BABYGRAD_DECLARE)
#undef BABYGRAD_DECLARE

// Raise with a printf-style message.
[[noreturn]] void value_error(const char* format, ...) __attribute__((format(printf, 1, 2)));
[[noreturn]] void index_error(const char* format, ...) __attribute__((format(printf, 1, 2)));

// Axis arguments, negative ones counted from the end: one int, or a set of axes as a bit mask from
// a tuple of ints, an int, or None or nothing for all. False for anything that is not valid.
bool get_axis(PyObject* object, int ndim, int& axis);
bool get_axes(PyObject* object, int ndim, unsigned& mask);

void init_bind(py::module_& module);
void register_backward_walk(py::module_& module);
void register_function_call(py::module_& module);

}  // namespace babygrad::bind
