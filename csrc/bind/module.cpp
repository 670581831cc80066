// The module `babygrad._core`: the kernels, through bind(), and the engine's runtime settings.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <utility>

#include "bind/bind.h"
#include "runtime/cpus.h"
#include "runtime/dispatch.h"
#include "runtime/memory.h"
#include "runtime/threads.h"

namespace babygrad::bind {
namespace {

std::size_t not_negative(const char* what, long long value) {
    if (value < 0) value_error("%s: the limit in bytes must be at least 0, got %lld", what, value);
    return static_cast<std::size_t>(value);
}

// BABYGRAD_NUM_THREADS, or what default_num_threads says.
int wanted_threads(const std::string& root) {
    const py::object asked = py::module_::import("babygrad._environment").attr("num_threads")();
    if (!asked.is_none()) return asked.cast<int>();
    const py::object launch = py::module_::import("babygrad._launcher").attr("launch")();
    const auto [processes, processors] = launch.cast<std::pair<int, int>>();
    return default_num_threads(root, processes, processors);
}

// The one parser of the environment is in Python.
void apply_environment() {
    const py::module_ environment = py::module_::import("babygrad._environment");
    const py::object isa = environment.attr("isa")(available_isas());
    if (!isa.is_none()) set_isa(isa.cast<std::string>());
    set_cache_limit(environment.attr("cache_megabytes")().cast<std::size_t>() << 20);
    set_num_threads(wanted_threads(""));
}

void init_threads(py::module_& m) {
    m.def("get_num_threads", num_threads, "Threads that a large kernel uses.");
    m.def("set_num_threads", [](long long count) {
        if (count < 1 || count > 1024)
            value_error("set_num_threads: count must be from 1 to 1024, got %lld", count);
        const WithoutGil nogil(1e9);  // a running job is waited for
        set_num_threads(static_cast<int>(count));
    }, py::arg("count"), "Sets how many threads a large kernel uses; results do not depend on it.");
    m.def("set_flush_denormal", set_flush_denormal, py::arg("on"),
          "Makes kernels, and nothing else, treat subnormal numbers as zero.");
    m.def("_cgroup_cpu_limit", cgroup_cpu_limit, py::arg("root"));
    m.def("_default_num_threads", wanted_threads, py::arg("root"));
    m.def("_pool_jobs", pool_jobs, "Jobs that several threads could share so far.");
    m.def("_dispatch_nanoseconds", dispatch_nanoseconds, py::arg("repeats"),
          "Mean time of an empty job that two threads run.");
}

void init_isa(py::module_& m) {
    m.def("isa", isa, "The instruction set in use.");
    m.def("available_isas", available_isas, "Those that this machine can run, the best one last.");
    m.def("set_isa", set_isa, py::arg("name"), "Switches to another of available_isas().");
}

void init_memory(py::module_& m) {
    m.def("empty_cache", empty_cache, "Gives all cached memory back to the system.");
    m.def("set_cache_limit", [](long long bytes) {
        set_cache_limit(not_negative("set_cache_limit", bytes));
    }, py::arg("bytes"), "Bounds the memory kept for reuse.");
    m.def("memory_stats", [] {
        const MemoryStats s = memory_stats();
        py::dict d;
        d["in_use"] = s.in_use;
        d["peak"] = s.peak;
        d["cached"] = s.cached;
        d["limit"] = s.limit;
        d["hits"] = s.hits;
        d["misses"] = s.misses;
        return d;
    }, "Bytes in use, their peak, bytes cached and their limit; requests served from the cache.");
    m.def("layout_copies", layout_copies, "Copies made only to change an array's layout.");
    m.def("reset_layout_copies", reset_layout_copies);
}

}  // namespace

PYBIND11_MODULE(engine, m) {
    m.doc() = "The C++ engine behind cpu:cpp.";
    try {
        kernels();
    } catch (const std::runtime_error& error) {
        throw py::import_error(error.what());
    }
    apply_environment();
    init_arrays();
    init_bind(m);
    init_threads(m);
    init_isa(m);
    init_memory(m);
    register_backward_walk(m);
    register_function_call(m);
#define BABYGRAD_REGISTER(family) register_##family();
    BABYGRAD_BINDINGS(BABYGRAD_REGISTER)
}

// Before pybind11, whose own initialisation waits for ever for the GIL in a sub-interpreter of Python 3.11;
// and the engine keeps references to objects of one interpreter.
extern "C" PYBIND11_EXPORT PyObject* PyInit__core() {
    if (PyInterpreterState_Get() == PyInterpreterState_Main()) return PyInit_engine();
    PyErr_SetString(PyExc_ImportError, "cpu:cpp runs in Python's main interpreter only");
    return nullptr;
}

}  // namespace babygrad::bind
