"""Modules: layers with their parameters, and what is built of them.

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
        def forward(self, x):
            return self.layers(x)

`model.parameters()` is what an optimizer takes; `model.save(file)` and `model.load(file)` keep a
model in a safetensors file.
"""

from babygrad.nn.activation import (
    ELU,
    GELU,
    Hardtanh,
    LeakyReLU,
    LogSoftmax,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from babygrad.nn.containers import Identity, ModuleDict, ModuleList, Residual, Sequential
from babygrad.nn.conv import Conv, Conv1d, Conv2d, ConvTranspose2d
from babygrad.nn.dropout import Dropout
from babygrad.nn.embedding import Embedding
from babygrad.nn.linear import Flatten, Linear
from babygrad.nn.loss import (
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    HuberLoss,
    KLDivLoss,
    L1Loss,
    MSELoss,
    NLLLoss,
    SoftmaxLoss,
)
from babygrad.nn.module import Module, Parameter
from babygrad.nn.norm import BatchNorm1d, BatchNorm2d, GroupNorm, LayerNorm, LayerNorm1d, RMSNorm
from babygrad.nn.pooling import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d
from babygrad.nn.recurrent import GRU, LSTM, RNN
from babygrad.nn.transformer import MultiHeadAttention, TransformerBlock

__all__ = [
    "ELU",
    "GELU",
    "GRU",
    "LSTM",
    "RNN",
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "BCEWithLogitsLoss",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv",
    "Conv1d",
    "Conv2d",
    "ConvTranspose2d",
    "CrossEntropyLoss",
    "Dropout",
    "Embedding",
    "Flatten",
    "GroupNorm",
    "Hardtanh",
    "HuberLoss",
    "Identity",
    "KLDivLoss",
    "L1Loss",
    "LayerNorm",
    "LayerNorm1d",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "MSELoss",
    "MaxPool2d",
    "Module",
    "ModuleDict",
    "ModuleList",
    "MultiHeadAttention",
    "NLLLoss",
    "Parameter",
    "RMSNorm",
    "ReLU",
    "Residual",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "SoftmaxLoss",
    "Softplus",
    "Tanh",
    "TransformerBlock",
]
