// numpy arrays and Python scalars to and from what the kernels take, without numpy's C headers:
// pybind11 carries the layout of an ndarray and the addresses of numpy's functions.
#pragma once

#include <pybind11/numpy.h>

#include <cstdint>

#include "runtime/view.h"

namespace babygrad::bind {

namespace py = pybind11;

// Each returns false, without a Python error, for what the kernels do not cover: anything but an
// exact, aligned, native-endian ndarray of a kernel dtype and at most kMaxDims axes.
bool get_view(PyObject* object, View& view);
bool get_writable_view(PyObject* object, View& view);

// A Python float, int or bool as a number that takes the arrays' dtype (numpy's weak scalars).
bool get_number(PyObject* object, double& value);
bool get_int(PyObject* object, std::int64_t& value);
bool get_bool(PyObject* object, bool& value);

// A new array: numpy's own memory when tiny, a block of the cache otherwise.
class Result {
public:
    // `strides` null for C order.
    Result(DType dtype, int ndim, const std::int64_t* shape, const std::int64_t* strides = nullptr);
    Result(DType dtype, std::initializer_list<std::int64_t> shape)
        : Result(dtype, static_cast<int>(shape.size()), shape.begin()) {}
    ~Result() { Py_XDECREF(object_); }
    Result(Result&& other) : object_(other.take()), view_(other.view_) {}
    Result(const Result&) = delete;
    Result& operator=(const Result&) = delete;

    const View& view() const { return view_; }
    void fill_zero();
    // Hands the new reference over, as a binding's return value.
    PyObject* take() { return std::exchange(object_, nullptr); }

private:
    PyObject* object_;
    View view_;
};

// A new array of `shape`, with as many axes as `like` and these in the same order in memory.
Result in_order_of(const View& like, DType dtype, const std::int64_t* shape);

// A tuple of the results, null standing for None.
PyObject* make_tuple(std::initializer_list<Result*> results);

// Sleeps until the process ends.
[[noreturn]] void sleep_for_ever();

// Calls what may wait for the GIL. While Python ends, up to version 3.13 it ends each other thread that asks
// for the GIL by pthread_exit, which with glibc unwinds the stack: through destructors that must not
// throw, and that drop references although another thread has the GIL. As from Python 3.14 on, such a
// thread sleeps instead. Python's C functions throw nothing else.
template <class Fn>
auto at_rest_after_exit(const Fn& fn) {
    try {
        return fn();
    } catch (...) {
        sleep_for_ever();
    }
}

void restore_thread(PyThreadState* state);

// Releases the GIL for a kernel whose work, in nanoseconds, is worth the two switches.
class WithoutGil {
public:
    explicit WithoutGil(double nanoseconds)
        : state_(nanoseconds > 10000 ? PyEval_SaveThread() : nullptr) {}
    ~WithoutGil() {
        if (state_) restore_thread(state_);
    }
    WithoutGil(const WithoutGil&) = delete;
    WithoutGil& operator=(const WithoutGil&) = delete;

private:
    PyThreadState* state_;
};

// Whether an array's base is a block of the cache, which is never shared with other code.
bool is_block(PyObject* object);

// "(2, 3)", for messages.
std::string shape_text(const View& view);

void init_arrays();

}  // namespace babygrad::bind
