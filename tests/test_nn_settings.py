"""A layer refuses a wrong setting in its constructor, in the words of its operation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from babygrad import Tensor, nn, ops
from babygrad.data import RandomCrop, RandomFlipHorizontal

NAN, INF = math.nan, math.inf

# The call, and what the message says after the layer's name.
WRONG: dict[str, tuple[Any, str]] = {
    "linear size": (lambda: nn.Linear(0, 2), "in_features (=0) must be at least 1"),
    "linear negative": (lambda: nn.Linear(2, -1), "out_features (=-1) must be at least 1"),
    "linear type": (lambda: nn.Linear(2.0, 1), "in_features (=2.0) must be an integer"),
    "linear text": (lambda: nn.Linear("2", 1), "in_features (='2') must be an integer"),
    "linear activation": (
        lambda: nn.Linear(2, 2, activation="swish"),
        "activation (='swish') must be one of relu, sigmoid, tanh, or None",
    ),
    "conv1d same": (lambda: nn.Conv1d(2, 2, 2, 2, "same"), "padding 'same' needs stride 1, not 2"),
    "conv2d same": (lambda: nn.Conv2d(2, 2, 2, 2, "same"), "padding 'same' needs stride 1, not 2"),
    "conv2d same pair": (
        lambda: nn.Conv2d(2, 2, 2, (1, 3), "same"), "padding 'same' needs stride 1, not 3",
    ),
}  # fmt: skip
for layer in ("Conv1d", "Conv2d", "ConvTranspose2d"):
    for setting, value, rule in (
        ("kernel_size", 0, "must be an integer of at least 1"),
        ("kernel_size", (3, 3, 3), "must be an integer of at least 1"),
        ("stride", 0, "must be an integer of at least 1"),
        ("stride", 1.5, "must be an integer of at least 1"),
        ("stride", None, "must be an integer of at least 1"),
        ("padding", -1, "must be an integer of at least 0"),
        ("padding", "nope", "must be"),
        ("padding", None, "must be an integer of at least 0"),
        ("dilation", 0, "must be an integer of at least 1"),
        ("dilation", "2", "must be an integer of at least 1"),
        ("in_channels", 0, "must be at least 1"),
        ("out_channels", -2, "must be at least 1"),
        ("in_channels", 2.5, "must be an integer"),
        ("groups", 0, "must be at least 1"),
        ("groups", "2", "must be an integer"),
        ("groups", True, "must be an integer"),
        ("padding", True, "must be an integer of at least 0"),
        ("stride", True, "must be an integer of at least 1"),
    ):
        settings = {"in_channels": 4, "out_channels": 4, "kernel_size": 2, setting: value}
        WRONG[f"{layer} {setting} {value!r}"] = (
            lambda layer=layer, settings=settings: getattr(nn, layer)(**settings),
            f"{setting} (={value!r}) {rule}",
        )
WRONG |= {
    "groups": (lambda: nn.Conv2d(4, 6, 3, groups=4), "in_channels (=4) and out_channels (=6) must"),
    "transposed same": (
        lambda: nn.ConvTranspose2d(2, 2, 3, padding="same"), "padding (='same') must be an integer",
    ),
    "output padding": (
        lambda: nn.ConvTranspose2d(2, 2, 3, 2, output_padding=2),
        "output_padding (=2) must be less than stride (=2) or dilation (=1)",
    ),
    "output padding negative": (
        lambda: nn.ConvTranspose2d(2, 2, 3, 2, output_padding=-1), "output_padding (=-1) must be",
    ),
    "book kernel": (lambda: nn.Conv(2, 2, 0), "kernel_size (=0) must be at least 1"),
    "book kernels": (lambda: nn.Conv(2, 2, ()), "kernel_size (=()) must be an integer"),
    "book kernel type": (lambda: nn.Conv(2, 2, "3"), "kernel_size (='3') must be an integer"),
    "book stride": (lambda: nn.Conv(2, 2, 3, 0), "stride (=0) must be at least 1"),
    "book strides": (lambda: nn.Conv(2, 2, 3, (-1, 1)), "stride (=-1) must be at least 1"),
    "book channels": (lambda: nn.Conv(0, 2, 3), "in_channels (=0) must be at least 1"),
    "max pool": (lambda: nn.MaxPool2d(0), "kernel_size (=0) must be an integer of at least 1"),
    "max pool stride": (lambda: nn.MaxPool2d(2, 0), "stride (=0) must be an integer of at least 1"),
    "max pool padding": (
        lambda: nn.MaxPool2d(2, padding=2),
        "padding (=2) along the height must be at most half the kernel (=2)",
    ),
    "max pool dilation": (lambda: nn.MaxPool2d(2, dilation=0), "dilation (=0) must be an integer"),
    "max pool text": (lambda: nn.MaxPool2d("2"), "kernel_size (='2') must be an integer of at"),
    "avg pool": (lambda: nn.AvgPool2d((2, 0)), "kernel_size (=(2, 0)) must be an integer of at"),
    "avg pool padding": (
        lambda: nn.AvgPool2d(2, padding=5),
        "padding (=5) along the height must be at most half the kernel (=2)",
    ),
    "avg pool width": (
        lambda: nn.AvgPool2d((6, 2), padding=(3, 2)),
        "padding (=2) along the width must be at most half the kernel (=2)",
    ),
    "avg pool negative": (lambda: nn.AvgPool2d(2, padding=-1), "padding (=-1) must be an integer"),
    "adaptive": (lambda: nn.AdaptiveAvgPool2d(0), "output_size (=(0, 0)) must be an integer of at"),
    "adaptive three": (lambda: nn.AdaptiveAvgPool2d((1, 2, 3)), "output_size (=(1, 2, 3)) must be"),
    "adaptive text": (lambda: nn.AdaptiveAvgPool2d((None, "x")), "output_size (=(1, 'x')) must be"),
    "batch norm": (lambda: nn.BatchNorm1d(-1), "dim (=-1) must be at least 0"),
    "batch norm type": (lambda: nn.BatchNorm2d((3,)), "dim (=(3,)) must be an integer"),
    "batch norm eps": (lambda: nn.BatchNorm1d(3, eps=-1e-5), "eps (=-1e-05) must be finite and"),
    "batch norm eps NaN": (lambda: nn.BatchNorm2d(3, eps=NAN), "eps (=nan) must be finite and"),
    "batch norm eps text": (lambda: nn.BatchNorm2d(3, eps="1"), "eps (='1') must be a number"),
    "momentum": (lambda: nn.BatchNorm1d(3, momentum=1.5), "momentum (=1.5) must lie in [0, 1]"),
    "momentum text": (lambda: nn.BatchNorm1d(3, momentum="x"), "momentum (='x') must be a number"),
    "layer norm": (lambda: nn.LayerNorm(-1), "normalized_shape (=-1) must be an integer of at"),
    "layer norm empty": (lambda: nn.LayerNorm(()), "normalized_shape (=()) must be an integer of"),
    "layer norm type": (lambda: nn.LayerNorm((3, 2.5)), "normalized_shape (=(3, 2.5)) must be an"),
    "layer norm eps": (lambda: nn.LayerNorm(3, eps=INF), "eps (=inf) must be finite and at least"),
    "book layer norm": (lambda: nn.LayerNorm1d(-1), "normalized_shape (=-1) must be an integer of"),
    "rms norm": (lambda: nn.RMSNorm("3"), "normalized_shape (='3') must be an integer of at"),
    "rms norm eps": (lambda: nn.RMSNorm(3, eps=-1), "eps (=-1) must be finite and at least 0"),
    "group norm": (lambda: nn.GroupNorm(3, 4), "num_groups (=3) must divide num_channels (=4)"),
    "group norm zero": (lambda: nn.GroupNorm(0, 4), "num_groups (=0) must divide num_channels"),
    "group norm type": (lambda: nn.GroupNorm(2.0, 4), "num_groups (=2.0) must be an integer"),
    "group norm channels": (lambda: nn.GroupNorm(1, -4), "num_channels (=-4) must be at least 0"),
    "group norm eps": (lambda: nn.GroupNorm(2, 4, eps=None), "eps (=None) must be a number"),
    "dropout": (lambda: nn.Dropout(1.5), "p (=1.5) must lie in [0, 1]"),
    "dropout negative": (lambda: nn.Dropout(-0.1), "p (=-0.1) must lie in [0, 1]"),
    "dropout NaN": (lambda: nn.Dropout(NAN), "p (=nan) must lie in [0, 1]"),
    "dropout text": (lambda: nn.Dropout("0.5"), "p (='0.5') must be a number"),
    "embedding": (lambda: nn.Embedding(-1, 3), "num_embeddings (=-1) must be at least 0"),
    "embedding width": (lambda: nn.Embedding(3, 2.0), "embedding_dim (=2.0) must be an integer"),
    "padding_idx": (lambda: nn.Embedding(5, 3, 5), "padding_idx (=5) is no row of 5"),
    "padding_idx negative": (lambda: nn.Embedding(5, 3, -6), "padding_idx (=-6) is no row of 5"),
    "padding_idx type": (lambda: nn.Embedding(5, 3, 1.5), "padding_idx (=1.5) must be an integer"),
    "nonlinearity": (
        lambda: nn.RNN(2, 3, 1, "gelu"), "nonlinearity (='gelu') must be 'tanh' or 'relu'",
    ),
    "heads": (
        lambda: nn.MultiHeadAttention(4, 3), "embed_dim (=4) must be divisible by num_heads (=3)",
    ),
    "heads zero": (lambda: nn.MultiHeadAttention(4, 0), "num_heads (=0) must be at least 1"),
    "heads type": (lambda: nn.MultiHeadAttention(4, 2.0), "num_heads (=2.0) must be an integer"),
    "attention size": (lambda: nn.MultiHeadAttention(0, 1), "embed_dim (=0) must be at least 1"),
    "attention dropout": (lambda: nn.MultiHeadAttention(4, 2, 2.0), "dropout (=2.0) must lie in"),
    "block": (lambda: nn.TransformerBlock(0, 1), "dim (=0) must be at least 1"),
    "block hidden": (lambda: nn.TransformerBlock(4, 2, 0), "hidden (=0) must be at least 1"),
    "block dropout": (lambda: nn.TransformerBlock(4, 2, dropout=-1), "dropout (=-1) must lie in"),
    "block activation": (
        lambda: nn.TransformerBlock(4, 2, activation=3), "activation (=3) must be 'gelu' or 'relu'",
    ),
    "leaky": (lambda: nn.LeakyReLU("0.1"), "negative_slope (='0.1') must be a number"),
    "leaky None": (lambda: nn.LeakyReLU(None), "negative_slope (=None) must be a number"),
    "elu": (lambda: nn.ELU([1.0]), "alpha (=[1.0]) must be a number"),
    "gelu": (lambda: nn.GELU("erf"), "approximate (='erf') must be 'none' or 'tanh'"),
    "gelu type": (lambda: nn.GELU(True), "approximate (=True) must be 'none' or 'tanh'"),
    "hardtanh": (lambda: nn.Hardtanh(1.0, -1.0), "low (=1.0) must not exceed high (=-1.0)"),
    "hardtanh NaN": (lambda: nn.Hardtanh(NAN, 1), "low (=nan) must not exceed high (=1)"),
    "hardtanh type": (lambda: nn.Hardtanh(-1, "1"), "high (='1') must be a number"),
    "softmax": (lambda: nn.Softmax(1.0), "axis (=1.0) must be an integer"),
    "softmax text": (lambda: nn.Softmax("1"), "axis (='1') must be an integer"),
    "softmax twice": (lambda: nn.Softmax((0, 0)), "axes (0, 0) name an axis twice"),
    "log softmax": (lambda: nn.LogSoftmax([0, None]), "axis (=None) must be an integer"),
    "smoothing": (
        lambda: nn.CrossEntropyLoss(label_smoothing=1.5), "label_smoothing (=1.5) must lie in",
    ),
    "smoothing NaN": (lambda: nn.CrossEntropyLoss(label_smoothing=NAN), "label_smoothing (=nan) m"),
    "loss axis": (lambda: nn.CrossEntropyLoss(axis="1"), "axis (='1') must be an integer"),
    "ignore_index": (lambda: nn.NLLLoss(ignore_index=0.5), "ignore_index (=0.5) must be an inte"),
    "huber": (lambda: nn.HuberLoss(delta=0), "delta (=0) must be positive"),
    "huber NaN": (lambda: nn.HuberLoss(delta=NAN), "delta (=nan) must be positive"),
    "huber text": (lambda: nn.HuberLoss(delta="1"), "delta (='1') must be a number"),
    "kl": (
        lambda: nn.KLDivLoss("avg"),
        "reduction (='avg') must be 'mean', 'sum', 'none' or 'batchmean'",
    ),
    "weight text": (lambda: nn.CrossEntropyLoss(weight="x"), "weight is a str; it must"),
    "weight matrix": (
        lambda: nn.CrossEntropyLoss(weight=Tensor([[1, 2]])), "weight has shape (1, 2); it must be",
    ),
    "weight list": (lambda: nn.NLLLoss(weight=[[1, 2]]), "weight has shape (1, 2); it must"),
    "weight number": (lambda: nn.NLLLoss(weight=2.0), "weight has shape (); it must be"),
    "pos_weight": (lambda: nn.BCEWithLogitsLoss(pos_weight="x"), "pos_weight is a str; it"),
    "bce weight": (lambda: nn.BCEWithLogitsLoss(weight={}), "weight is a dict; it must"),
    "leaky NaN": (lambda: nn.LeakyReLU(NAN), "negative_slope (=nan) must be a number other than"),
    "elu NaN": (lambda: nn.ELU(np.float32(NAN)), "alpha (=nan) must be a number other than nan"),
    "bool stride": (lambda: nn.AvgPool2d(2, True), "stride (=True) must be an integer of"),
    "bool channels": (lambda: nn.Linear(True, 2), "in_features (=True) must be an integer"),
    "residual": (lambda: nn.Residual(3), "fn is a int, not a Module"),
}  # fmt: skip
for name, make, settings in (
    ("linear", lambda **k: nn.Linear(2, 2, **k), ["bias"]),
    ("conv", lambda **k: nn.Conv(2, 2, 3, **k), ["bias"]),
    ("conv1d", lambda **k: nn.Conv1d(2, 2, 3, **k), ["bias"]),
    ("conv2d", lambda **k: nn.Conv2d(2, 2, 3, **k), ["bias"]),
    ("transposed", lambda **k: nn.ConvTranspose2d(2, 2, 3, **k), ["bias"]),
    ("max pool", lambda **k: nn.MaxPool2d(2, **k), ["ceil_mode"]),
    ("avg pool", lambda **k: nn.AvgPool2d(2, **k), ["ceil_mode", "count_include_pad"]),
    ("batch norm", lambda **k: nn.BatchNorm1d(2, **k), ["affine", "unbiased"]),
    ("layer norm", lambda **k: nn.LayerNorm(2, **k), ["bias"]),
    ("lstm", lambda **k: nn.LSTM(2, 2, **k), ["bias", "batch_first", "bidirectional"]),
    ("attention", lambda **k: nn.MultiHeadAttention(2, 2, **k), ["bias"]),
    ("block", lambda **k: nn.TransformerBlock(2, 2, **k), ["norm_first"]),
    ("kl", nn.KLDivLoss, ["log_target"]),
):
    WRONG |= {
        f"{name} {setting} {value!r}": (
            lambda make=make, setting=setting, value=value: make(**{setting: value}),
            f"{setting} (={value!r}) must be True or False",
        )
        for setting in settings
        for value in ("no", None, 2, [True])
    }
for layer in ("RNN", "LSTM", "GRU"):
    WRONG |= {
        f"{layer} {setting} {value!r}": (
            lambda layer=layer, setting=setting, value=value: getattr(nn, layer)(
                **{"input_size": 2, "hidden_size": 3, setting: value}
            ),
            f"{setting} (={value!r}) {rule}",
        )
        for setting, value, rule in (
            ("input_size", 0, "must be at least 1"),
            ("hidden_size", 0, "must be at least 1"),
            ("hidden_size", 2.5, "must be an integer"),
            ("num_layers", 0, "must be at least 1"),
            ("num_layers", "2", "must be an integer"),
            ("dropout", 1.5, "must lie in [0, 1]"),
            ("dropout", None, "must be a number"),
        )
    }
for layer in (
    "CrossEntropyLoss", "NLLLoss", "MSELoss", "L1Loss", "HuberLoss", "BCEWithLogitsLoss",
):  # fmt: skip
    WRONG |= {
        f"{layer} {value!r}": (
            lambda layer=layer, value=value: getattr(nn, layer)(reduction=value),
            f"reduction (={value!r}) must be 'mean', 'sum' or 'none'",
        )
        for value in ("avg", None, True)
    }


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_setting_is_refused_by_the_constructor(case: str, device: str) -> None:
    call, message = WRONG[case]
    with pytest.raises((ValueError, TypeError)) as caught:
        call()
    layer, _, rest = str(caught.value).partition(": ")
    assert hasattr(nn, layer)
    assert rest.startswith(message)
    assert "\n" not in rest


IMAGE = np.ones((1, 4, 6, 6))
ROW = IMAGE[:, :, 0]
# A layer whose settings are changed once it exists: the operation finds the same fault.
SHARED: dict[str, tuple[Any, dict[str, Any], Any]] = {
    "conv2d": (lambda **k: nn.Conv2d(4, 4, 2, **k), {"stride": 2, "padding": "same"}, IMAGE),
    "conv2d padding": (lambda **k: nn.Conv2d(4, 4, 2, **k), {"padding": "nope"}, IMAGE),
    "conv2d negative": (lambda **k: nn.Conv2d(4, 4, 2, **k), {"padding": -1}, IMAGE),
    "conv2d stride": (lambda **k: nn.Conv2d(4, 4, 2, **k), {"stride": 0}, IMAGE),
    "conv2d dilation": (lambda **k: nn.Conv2d(4, 4, 2, **k), {"dilation": 0}, IMAGE),
    "conv1d": (lambda **k: nn.Conv1d(4, 4, 2, **k), {"stride": 3, "padding": "same"}, ROW),
    "conv1d stride": (lambda **k: nn.Conv1d(4, 4, 2, **k), {"stride": (1, 2)}, ROW),
    "transposed": (lambda **k: nn.ConvTranspose2d(4, 4, 2, **k), {"output_padding": 1}, IMAGE),
    "transposed same": (lambda **k: nn.ConvTranspose2d(4, 4, 2, **k), {"padding": "same"}, IMAGE),
    "max pool": (lambda kernel_size=2: nn.MaxPool2d(kernel_size), {"kernel_size": 0}, IMAGE),
    "avg pool": (lambda **k: nn.AvgPool2d(2, **k), {"padding": 5}, IMAGE),
    "adaptive": (lambda output_size=1: nn.AdaptiveAvgPool2d(output_size), {"output_size": 0}, ROW),
    "layer norm": (lambda **k: nn.LayerNorm(6, **k), {"eps": "x"}, IMAGE),
    "rms norm": (lambda **k: nn.RMSNorm(6, **k), {"eps": None}, IMAGE),
    "group norm": (lambda **k: nn.GroupNorm(2, 4, **k), {"eps": "x"}, IMAGE),
    "batch norm": (lambda **k: nn.BatchNorm2d(4, **k), {"eps": [1.0]}, IMAGE),
    "dropout": (nn.Dropout, {"p": 1.5}, IMAGE),
    "gelu": (nn.GELU, {"approximate": "erf"}, IMAGE),
    "leaky": (nn.LeakyReLU, {"negative_slope": "x"}, IMAGE),
    "elu": (nn.ELU, {"alpha": None}, IMAGE),
    "leaky NaN": (nn.LeakyReLU, {"negative_slope": NAN}, IMAGE),
    "elu NaN": (nn.ELU, {"alpha": NAN}, IMAGE),
    "hardtanh": (nn.Hardtanh, {"low": 2.0, "high": 1.0}, IMAGE),
    "softmax": (nn.Softmax, {"axis": "x"}, IMAGE),
    "linear": (lambda **k: nn.Linear(6, 6, **k), {"activation": "swish"}, IMAGE),
    "embedding": (lambda **k: nn.Embedding(4, 2, **k), {"padding_idx": 4}, np.ones(2)),
}  # fmt: skip


@pytest.mark.parametrize("case", SHARED)
def test_the_constructors_sentence_is_the_operations(case: str, device: str) -> None:
    make, wrong, x = SHARED[case]
    with pytest.raises((ValueError, TypeError)) as early:
        make(**wrong)
    layer = make()
    for setting, value in wrong.items():
        setattr(layer, setting, value)
    with pytest.raises((ValueError, TypeError)) as late:
        layer(Tensor(x))
    assert type(early.value) is type(late.value)
    sentence = str(early.value).partition(": ")[2]
    assert sentence
    assert str(late.value).partition(": ")[2] == sentence


def test_the_operations_refuse_what_they_used_to_compute_with(device: str) -> None:
    x, one = Tensor(IMAGE), Tensor(np.ones((2, 2)))
    for call in (
        lambda: ops.huber_loss(one, one, delta=NAN),
        lambda: ops.hardtanh(x, 1.0, -1.0),
        lambda: ops.kl_div(one, one, "avg"),
    ):
        with pytest.raises(ValueError, match="must"):
            call()


def test_settings_that_are_right_are_kept_as_they_are(device: str) -> None:
    eight = np.int64(8)
    layers = [
        nn.Linear(eight, eight, activation="relu"),
        nn.Conv2d(eight, eight, (1, 3), [2, 1], "valid", (1, 2), np.int32(2)),
        nn.Conv2d(8, 8, 3, padding="same", dilation=2),
        nn.Conv1d(8, 8, 3, 1, "same"),
        nn.ConvTranspose2d(8, 8, 3, (2, 1), 1, (1, 0)),
        nn.ConvTranspose2d(8, 8, 3, 1, 1, 1, dilation=2),
        nn.Conv(8, 8, [3, 3], [2, 2]),
        nn.MaxPool2d((2, 4), None, (1, 2)),
        nn.AdaptiveAvgPool2d((None, 3)),
        nn.BatchNorm1d(8, eps=0, momentum=np.float32(0.5)),
        nn.LayerNorm([2, 3]),
        nn.GroupNorm(8, 8),
        nn.Dropout(np.float64(0.5)),
        nn.Dropout(1),
        nn.Embedding(8, 2, -8),
        nn.LeakyReLU(-1),
        nn.Hardtanh(0, 0),
        nn.Hardtanh(-INF, INF),
        nn.Softmax((0, -1)),
        nn.KLDivLoss("batchmean"),
        nn.HuberLoss(delta=INF),
        nn.Linear(2, 2, np.True_),
        nn.MaxPool2d(2, ceil_mode=np.False_),
        nn.CrossEntropyLoss(np.array([-1.0, 2.0])),
        nn.NLLLoss([1, 2]),
        nn.BCEWithLogitsLoss(2.0, pos_weight=Tensor([[1.0, 2.0]])),
    ]
    assert layers[1].stride == [2, 1]  # type: ignore[attr-defined]
    assert repr(layers[2]).endswith("stride=1, padding='same', dilation=2, groups=1)")


def test_transforms_refuse_wrong_settings() -> None:
    for call, message in (
        (lambda: RandomFlipHorizontal("0.5"), r"RandomFlipHorizontal: p \(='0\.5'\) must be a num"),
        (lambda: RandomFlipHorizontal(None), r"RandomFlipHorizontal: p \(=None\) must be a number"),
        (lambda: RandomFlipHorizontal(NAN), r"RandomFlipHorizontal: p \(=nan\) must be between"),
        (lambda: RandomCrop(1.5), r"RandomCrop: padding \(=1\.5\) must be a non-negative integer"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            call()
