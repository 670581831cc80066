// Floating-point unary and binary operations, activations and their gradients.
#include "bind/operands.h"

namespace babygrad::bind {
namespace {

Loop unary_kernel(int op, DType dtype) {
    return kernels().elementwise.unary[op][static_cast<int>(dtype)];
}
Loop binary_kernel(int op, DType dtype) {
    return kernels().elementwise.binary[op][static_cast<int>(dtype)];
}

template <int op, std::int64_t grain>
PyObject* unary(PyObject* const* args) {
    Operands in;
    if (!in.add(args[0]) || !in.settle() || !is_floating(in.dtype())) return kNotCovered;
    return in.run(unary_kernel(op, in.dtype()), in.dtype(), grain);
}

template <int op>
PyObject* binary(PyObject* const* args) {
    Operands in;
    if (!in.add_weak(args[0]) || !in.add_weak(args[1]) || !in.settle() || !is_floating(in.dtype()))
        return kNotCovered;
    return in.run(binary_kernel(op, in.dtype()), in.dtype(), kLightGrain);
}

template <int op>
PyObject* parametric(PyObject* const* args) {
    Operands in;
    double parameter;
    if (!in.add(args[0]) || !get_number(args[1], parameter) || !in.settle() ||
        !is_floating(in.dtype()))
        return kNotCovered;
    return in.run(unary_kernel(op, in.dtype()), in.dtype(), kHeavyGrain, &parameter);
}

// A gradient lies in memory like the value that it belongs to, whatever the upstream one does: that
// of a flatten lies like the flat array, and the convolution before it would copy it, twice.
template <int op>
PyObject* gradient(PyObject* const* args) {
    Operands in;
    if (!in.add(args[0]) || !in.add(args[1]) || !in.settle() || !is_floating(in.dtype()))
        return kNotCovered;
    return in.run(binary_kernel(op, in.dtype()), in.dtype(), kHeavyGrain, nullptr, 1);
}

template <int op>
PyObject* parametric_gradient(PyObject* const* args) {
    Operands in;
    double parameter;
    if (!in.add(args[0]) || !in.add(args[1]) || !get_number(args[2], parameter) ||
        !in.settle() || !is_floating(in.dtype()))
        return kNotCovered;
    return in.run(binary_kernel(op, in.dtype()), in.dtype(), kHeavyGrain, &parameter, 1);
}

PyObject* clip(PyObject* const* args) {
    Operands in;
    if (!in.add(args[0])) return kNotCovered;
    constexpr double none[] = {-__builtin_inf(), __builtin_inf()};
    for (int i = 0; i < 2; ++i) {
        if (args[1 + i] == Py_None)
            in.add_number(none[i]);
        else if (!in.add_weak(args[1 + i]))
            return kNotCovered;
    }
    if (!in.settle() || !is_floating(in.dtype())) return kNotCovered;
    const Loop loop = kernels().elementwise.clip[static_cast<int>(in.dtype())];
    return in.run(loop, in.dtype(), kLightGrain);
}

}  // namespace

void register_elementwise() {
#define BABYGRAD_LIGHT(name) \
    add_entry({#name, "x", unary<static_cast<int>(Unary::name), kLightGrain>});
#define BABYGRAD_HEAVY(name) \
    add_entry({#name, "x", unary<static_cast<int>(Unary::name), kHeavyGrain>});
#define BABYGRAD_TWO(name) add_entry({#name, "a b", binary<static_cast<int>(Binary::name)>});
    BABYGRAD_ARITHMETIC_UNARY(BABYGRAD_LIGHT)
    BABYGRAD_MATH_UNARY(BABYGRAD_HEAVY)
    BABYGRAD_ARITHMETIC_BINARY(BABYGRAD_TWO)
    add_entry({"gelu", "x approximate", parametric<static_cast<int>(Unary::gelu)>});
    add_entry({"elu", "x alpha", parametric<static_cast<int>(Unary::elu)>});
    add_entry({"leaky_relu", "x slope", parametric<static_cast<int>(Unary::leaky_relu)>});
    add_entry({"relu_grad", "gy y", gradient<static_cast<int>(Binary::relu_grad)>});
    add_entry({"sigmoid_grad", "gy y", gradient<static_cast<int>(Binary::sigmoid_grad)>});
    add_entry({"tanh_grad", "gy y", gradient<static_cast<int>(Binary::tanh_grad)>});
    add_entry({"softplus_grad", "gy x", gradient<static_cast<int>(Binary::softplus_grad)>});
    add_entry({"silu_grad", "gy x", gradient<static_cast<int>(Binary::silu_grad)>});
    add_entry({"gelu_grad", "gy x approximate",
               parametric_gradient<static_cast<int>(Binary::gelu_grad)>});
    add_entry({"elu_grad", "gy x alpha", parametric_gradient<static_cast<int>(Binary::elu_grad)>});
    add_entry({"leaky_relu_grad", "gy x slope",
               parametric_gradient<static_cast<int>(Binary::leaky_relu_grad)>});
    add_entry({"clip", "x lo hi", clip});
}

}  // namespace babygrad::bind
