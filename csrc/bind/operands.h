// The operands of an elementwise call: collected, broadcast to one shape, and run.
#pragma once

#include "bind/bind.h"
#include "runtime/loops.h"

namespace babygrad::bind {

class Operands {
public:
    // Adds an array; false for what kernels do not take.
    bool add(PyObject* object);
    // Adds an array or a Python number; a number takes the dtype of the first array beside it, which
    // must be floating, once all operands are there: see settle().
    bool add_weak(PyObject* object);
    void add_number(double value);

    // Gives the numbers their dtype and broadcasts. False when there is no array, dtypes differ
    // from operand `first` on, or the shapes do not go together.
    bool settle(int first = 0);

    const View& operator[](int i) const { return views_[i]; }
    DType dtype() const { return dtype_; }
    std::int64_t size() const { return size_; }

    // A new array of their shape in numpy's K order of the operands from `first` on, filled by `loop`.
    PyObject* run(Loop loop, DType out, std::int64_t grain, const double* params = nullptr,
                  int first = 0);

private:
    static constexpr int kMax = 3;
    bool broadcast_all();

    int count_ = 0;
    View views_[kMax];
    bool is_number_[kMax] = {};
    double numbers_[kMax];
    float numbers_f32_[kMax];
    DType dtype_ = DType::f32;
    int ndim_ = 0;
    std::int64_t shape_[kMaxDims];
    std::int64_t size_ = 0;
    bool flat_ = true;  // each is C-contiguous in the full shape, or one element
};

}  // namespace babygrad::bind
