// The oracle of sweep_math.py: distances in ulp of float32 results from float64 functions, whose own
// error is 2^-28 of such an ulp.
#include <cmath>
#include <cstdint>
#include <cstring>

namespace {

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// The distance of y from the exact value, in units of the last place of a float32 of that size; 1e30
// where one is NaN and the other is not, or where a zero has the other sign.
double distance(float y, double exact) {
    if (std::isnan(exact) || std::isnan(y)) return std::isnan(exact) == std::isnan(y) ? 0 : 1e30;
    if (exact == 0 && y == 0) return std::signbit(exact) == std::signbit(y) ? 0 : 1e30;
    constexpr double beyond = 0x1p128;  // what an infinity stands for: the next number, were there one
    const double bounded = std::fmin(std::fmax(exact, -beyond), beyond);
    const double result = std::isinf(y) ? std::copysign(beyond, y) : y;
    int exponent;
    std::frexp(bounded, &exponent);
    const int last_place = exponent > 128 ? 104 : exponent < -125 ? -149 : exponent - 24;
    return std::ldexp(std::fabs(result - bounded), -last_place);
}

template <class Fn>
void fill(const float* x, double* exact, std::int64_t n, Fn fn) {
    for (std::int64_t i = 0; i < n; ++i) exact[i] = fn(static_cast<double>(x[i]));
}

}  // namespace

extern "C" {

// The exact values at x; which: 0 exp, 1 log, 2 tanh, 3 sigmoid, 4 erf.
void evaluate(int which, const float* x, double* exact, std::int64_t n) {
    switch (which) {
        case 0: return fill(x, exact, n, [](double v) { return std::exp(v); });
        case 1: return fill(x, exact, n, [](double v) { return std::log(v); });
        case 2: return fill(x, exact, n, [](double v) { return std::tanh(v); });
        case 3: return fill(x, exact, n, sigmoid);
        default: return fill(x, exact, n, [](double v) { return std::erf(v); });
    }
}

// The largest distance, and where it is.
double worst(const float* y, const double* exact, std::int64_t n, std::int64_t* place) {
    double largest = -1;
    for (std::int64_t i = 0; i < n; ++i) {
        const double d = distance(y[i], exact[i]);
        if (d > largest) {
            largest = d;
            *place = i;
        }
    }
    return largest;
}
}
