#include "bind/array.h"

#include <unistd.h>

#include <cstring>

#include "runtime/memory.h"
#include "runtime/threads.h"

namespace babygrad::bind {
namespace {

using py::detail::npy_api;
using py::detail::PyArray_Proxy;
using py::detail::PyArrayDescr_Proxy;

// Below this size numpy's own allocation, one call, beats a block of the cache and its owner.
constexpr std::int64_t kTinyBytes = 512;

struct NumpyTypes {
    PyTypeObject* array;
    decltype(npy_api::PyArray_NewFromDescr_) new_from_descr;
    PyObject* descr[kDTypeCount];
    signed char dtype_of[npy_api::NPY_DOUBLE_ + 1];  // -1 where kernels have no such type
};
NumpyTypes numpy;

// What a result array's `base` is: gives the block back when the last view of it goes.
struct Block {
    PyObject_HEAD
    void* data;
    std::size_t capacity;
};

void block_dealloc(PyObject* self) {
    auto* block = reinterpret_cast<Block*>(self);
    release(block->data, block->capacity);
    PyObject_Free(self);
}

PyTypeObject block_type{};

void init_block_type() {
    Py_SET_REFCNT(reinterpret_cast<PyObject*>(&block_type), 1);
    block_type.tp_name = "babygrad._core.Block";
    block_type.tp_doc = "The memory of a result array, on loan from the engine's cache.";
    block_type.tp_basicsize = sizeof(Block);
    block_type.tp_dealloc = block_dealloc;
    block_type.tp_flags = Py_TPFLAGS_DEFAULT;
    if (PyType_Ready(&block_type) < 0) throw py::error_already_set();
}

PyObject* new_array_on_block(DType dtype, int ndim, const std::int64_t* shape,
                             const std::int64_t* strides, std::size_t bytes) {
    std::size_t capacity;
    void* data = allocate(bytes, capacity);
    Block* block = PyObject_New(Block, &block_type);
    if (!block) {
        release(data, capacity);
        return nullptr;
    }
    block->data = data;
    block->capacity = capacity;
    PyObject* descr = numpy.descr[static_cast<int>(dtype)];
    Py_INCREF(descr);
    PyObject* array =
        numpy.new_from_descr(numpy.array, descr, ndim, shape, strides, data,
                             npy_api::NPY_ARRAY_WRITEABLE_ | npy_api::NPY_ARRAY_ALIGNED_, nullptr);
    if (!array) {
        Py_DECREF(block);
        return nullptr;
    }
    // PyArray_SetBaseObject would look for arrays behind the base; a Block has none.
    reinterpret_cast<PyArray_Proxy*>(array)->base = reinterpret_cast<PyObject*>(block);
    return array;
}

}  // namespace

void sleep_for_ever() {
    while (true) pause();
}

void restore_thread(PyThreadState* state) {
    at_rest_after_exit([&] { PyEval_RestoreThread(state); });
}

bool is_block(PyObject* object) { return Py_TYPE(object) == &block_type; }

void init_arrays() {
    const npy_api& api = npy_api::get();
    numpy.array = api.PyArray_Type_;
    numpy.new_from_descr = api.PyArray_NewFromDescr_;
    std::memset(numpy.dtype_of, -1, sizeof numpy.dtype_of);
    const auto set = [&](DType dtype, int type_num) {
        numpy.dtype_of[type_num] = static_cast<signed char>(dtype);
        numpy.descr[static_cast<int>(dtype)] = api.PyArray_DescrFromType_(type_num);
    };
    set(DType::f32, npy_api::NPY_FLOAT_);
    set(DType::f64, npy_api::NPY_DOUBLE_);
    set(DType::i32, npy_api::NPY_INT32_);
    set(DType::i64, npy_api::NPY_INT64_);
    set(DType::b8, npy_api::NPY_BOOL_);
    init_block_type();
}

bool get_view(PyObject* object, View& view) {
    if (Py_TYPE(object) != numpy.array) return false;
    const auto* array = reinterpret_cast<const PyArray_Proxy*>(object);
    const auto* descr = reinterpret_cast<const PyArrayDescr_Proxy*>(array->descr);
    if (descr->type_num < 0 || descr->type_num > npy_api::NPY_DOUBLE_) return false;
    const int dtype = numpy.dtype_of[descr->type_num];
    if (dtype < 0 || descr->byteorder == '>' || array->nd > kMaxDims ||
        !(array->flags & npy_api::NPY_ARRAY_ALIGNED_))
        return false;
    view.data = array->data;
    view.dtype = static_cast<DType>(dtype);
    view.ndim = array->nd;
    for (int i = 0; i < array->nd; ++i) {
        view.shape[i] = array->dimensions[i];
        view.strides[i] = array->strides[i];
    }
    return true;
}

bool get_writable_view(PyObject* object, View& view) {
    return get_view(object, view) &&
           (reinterpret_cast<const PyArray_Proxy*>(object)->flags & npy_api::NPY_ARRAY_WRITEABLE_);
}

bool get_number(PyObject* object, double& value) {
    if (PyFloat_CheckExact(object)) {
        value = PyFloat_AS_DOUBLE(object);
        return true;
    }
    std::int64_t integer;
    if (!get_int(object, integer) || integer > (1LL << 53) || integer < -(1LL << 53)) return false;
    value = static_cast<double>(integer);
    return true;
}

bool get_int(PyObject* object, std::int64_t& value) {
    if (!PyLong_CheckExact(object) && !PyBool_Check(object)) return false;
    int overflow = 0;
    value = PyLong_AsLongLongAndOverflow(object, &overflow);
    return overflow == 0;
}

bool get_bool(PyObject* object, bool& value) {
    if (!PyBool_Check(object)) return false;
    value = object == Py_True;
    return true;
}

Result::Result(DType dtype, int ndim, const std::int64_t* shape, const std::int64_t* strides) {
    std::int64_t bytes = itemsize(dtype);
    for (int i = 0; i < ndim; ++i)
        if (__builtin_mul_overflow(bytes, shape[i], &bytes)) throw std::bad_alloc();
    if (bytes <= kTinyBytes && !strides) {
        PyObject* descr = numpy.descr[static_cast<int>(dtype)];
        Py_INCREF(descr);
        object_ = numpy.new_from_descr(numpy.array, descr, ndim, shape, nullptr, nullptr, 0,
                                       nullptr);
    } else {
        object_ = new_array_on_block(dtype, ndim, shape, strides, static_cast<std::size_t>(bytes));
    }
    if (!object_) throw py::error_already_set();
    get_view(object_, view_);
}

// A thread's part of an array of zeros: 20 us.
constexpr std::int64_t kZeroBytes = 1 << 18;

void Result::fill_zero() {
    parallel_ranges(size_of(view_) * itemsize(view_.dtype), kZeroBytes,
                    [&](std::int64_t begin, std::int64_t end) {
        std::memset(view_.data + begin, 0, static_cast<std::size_t>(end - begin));
    });
}

Result in_order_of(const View& like, DType dtype, const std::int64_t* shape) {
    const View* const views[] = {&like};
    int perm[kMaxDims];
    std::int64_t strides[kMaxDims];
    keep_order(perm, views, 1);
    dense_strides(strides, shape, like.ndim, itemsize(dtype), perm);
    bool c_order = true;
    for (int i = 0; i < like.ndim; ++i) c_order = c_order && perm[i] == i;
    return Result(dtype, like.ndim, shape, c_order ? nullptr : strides);
}

PyObject* make_tuple(std::initializer_list<Result*> results) {
    PyObject* tuple = PyTuple_New(static_cast<Py_ssize_t>(results.size()));
    if (!tuple) throw py::error_already_set();
    Py_ssize_t i = 0;
    for (Result* result : results)
        PyTuple_SET_ITEM(tuple, i++, result ? result->take() : Py_NewRef(Py_None));
    return tuple;
}

std::string shape_text(const View& view) {
    std::string text = "(";
    for (int i = 0; i < view.ndim; ++i)
        text += std::to_string(view.shape[i]) + (i + 1 < view.ndim ? ", " : "");
    return text + (view.ndim == 1 ? ",)" : ")");
}

}  // namespace babygrad::bind
