"""The error function in numpy, by the rational approximations of fdlibm's s_erf.c.

W. J. Cody, "Rational Chebyshev approximations for the error function", Math. Comp. 23 (1969),
in the form that Sun Microsystems gave them (1993). Within 1 ulp in float64:

    |x| < 0.84375          x + x P(x^2) / Q(x^2)
    |x| < 1.25             c + P(|x| - 1) / Q(|x| - 1),                   c = erf(1) to 24 bits
    |x| < 6                1 - exp(-x^2 - 0.5625 + R(1 / x^2) / S(1 / x^2)) / |x|
    else                   1

Coefficients are listed from the constant term up.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from babygrad.backends.aliases import Array

Rational: TypeAlias = tuple[tuple[float, ...], tuple[float, ...]]

_NEAR_0 = (
    (1.28379167095512558561e-01, -3.25042107247001499370e-01, -2.84817495755985104766e-02,
     -5.77027029648944159157e-03, -2.37630166566501626084e-05),
    (1.0, 3.97917223959155352819e-01, 6.50222499887672944485e-02, 5.08130628187576562776e-03,
     1.32494738004321644526e-04, -3.96022827877536812320e-06),
)  # fmt: skip
_ERF_1 = 8.45062911510467529297e-01
_NEAR_1 = (
    (-2.36211856075265944077e-03, 4.14856118683748331666e-01, -3.72207876035701323847e-01,
     3.18346619901161753674e-01, -1.10894694282396677476e-01, 3.54783043256182359371e-02,
     -2.16637559486879084300e-03),
    (1.0, 1.06420880400844228286e-01, 5.40397917702171048937e-01, 7.18286544141962662868e-02,
     1.26171219808761642112e-01, 1.36370839120290507362e-02, 1.19844998467991074170e-02),
)  # fmt: skip
_TO_2_86 = (
    (-9.86494403484714822705e-03, -6.93858572707181764372e-01, -1.05586262253232909814e+01,
     -6.23753324503260060396e+01, -1.62396669462573470355e+02, -1.84605092906711035994e+02,
     -8.12874355063065934246e+01, -9.81432934416914548592e+00),
    (1.0, 1.96512716674392571292e+01, 1.37657754143519042600e+02, 4.34565877475229228821e+02,
     6.45387271733267880336e+02, 4.29008140027567833386e+02, 1.08635005541779435134e+02,
     6.57024977031928170135e+00, -6.04244152148580987438e-02),
)  # fmt: skip
_TO_6 = (
    (-9.86494292470009928597e-03, -7.99283237680523006574e-01, -1.77579549177547519889e+01,
     -1.60636384855821916062e+02, -6.37566443368389627722e+02, -1.02509513161107724954e+03,
     -4.83519191608651397019e+02),
    (1.0, 3.03380607434824582924e+01, 3.25792512996573918826e+02, 1.53672958608443695994e+03,
     3.19985821950859553908e+03, 2.55305040643316442583e+03, 4.74528541206955367215e+02,
     -2.24409524465858183362e+01),
)  # fmt: skip


def erf(x: Array) -> Array:
    """erf(x), float32 through float64; other dtypes become float64."""
    x = np.asarray(x)
    wide = np.abs(x, dtype=np.float64)
    result = np.ones_like(wide)  # stays 1 from 6 on
    for low, high, branch in (
        (0.0, 0.84375, _near_0),
        (0.84375, 1.25, _near_1),
        (1.25, 1 / 0.35, _middle),
        (1 / 0.35, 6.0, _far),
    ):
        inside = (wide >= low) & (wide < high)
        result[inside] = branch(wide[inside])
    result[np.isnan(wide)] = np.nan
    signed: Array = np.copysign(result, x)
    return signed.astype(x.dtype if x.dtype.kind == "f" else np.float64, copy=False)


def _near_0(x: Array) -> Array:
    y: Array = x + x * _ratio(_NEAR_0, x * x)
    return y


def _near_1(x: Array) -> Array:
    y: Array = _ERF_1 + _ratio(_NEAR_1, x - 1)
    return y


def _middle(x: Array) -> Array:
    return _tail(x, _TO_2_86)


def _far(x: Array) -> Array:
    return _tail(x, _TO_6)


def _tail(x: Array, coefficients: Rational) -> Array:
    square = x * x
    y: Array = 1 - np.exp(_ratio(coefficients, 1 / square) - 0.5625 - square) / x
    return y


def _ratio(coefficients: Rational, t: Array) -> Array:
    above, below = (_horner(c, t) for c in coefficients)
    y: Array = above / below
    return y


def _horner(coefficients: tuple[float, ...], t: Array) -> Array:
    value = np.full_like(t, coefficients[-1])
    for c in coefficients[-2::-1]:
        value = value * t + c
    return value
