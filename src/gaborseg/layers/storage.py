"""How the parameters of a kernel are stored, which decides how far training moves each.

An optimiser of Adam's kind, Nadam among them, moves every stored number by about the learning rate
a step, whatever the number's unit. A step of 10^-3 is much for an amplitude, which starts near 0.05
in a layer of many channels, and next to nothing for an angle or for a width of two voxels. So a
layer stores its parameters in units of its own:

    parameter = rate * stored,      sigma = g(rate * stored),     g: x, exp(x) or ln(1 + exp(x))

with one rate for each kind of parameter: the learning rate of that kind, relative to the others'.
This holds for optimisers of Adam's kind; plain gradient descent is as if it had the squared rate,
and decay of weights draws what is stored to zero.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gaborseg.layers.grid import SMALLEST_SIGMA

KINDS = ("sigma", "theta", "amplitude", "frequency", "phase")
"""Kinds of Gabor parameters; rates may name them for any kernel, which may have fewer or others."""
_FASTEST = 1000
SigmaScale = Literal["raw", "log", "softplus"]
Change = Callable[[Tensor], Tensor]

_LARGEST_LOG = 40
"""Of a width: far beyond any kernel, and short of overflow, whose gradient is no number."""

_FROM_SCALE: dict[str, Change] = {
    "raw": lambda x: x,
    "log": lambda x: x.clamp(max=_LARGEST_LOG).exp(),
    "softplus": F.softplus,
}
_TO_SCALE: dict[str, Change] = {
    "raw": lambda sigma: sigma,
    "log": torch.log,
    "softplus": lambda sigma: sigma + torch.log(-torch.expm1(-sigma)),
}


class ParameterStorage(nn.Module):
    """Turns stored numbers (P, I, O) into the parameters of an equation; `inverse` turns back.

    Args:
        names: Of the parameters; what precedes the first underscore is a parameter's kind.
        rates: How many times the learning rate each kind is trained with; 1 for those left out.
        sigma_scale: What of the widths is stored: they themselves, their logarithm, or the inverse
            of softplus. The last two keep them positive.

    Raises:
        ValueError: A rate is of a kind that is neither a Gabor parameter's nor one of `names`, not
            positive or above 1000, or there is no such scale.
    """

    def __init__(
        self, names: Sequence[str], rates: Mapping[str, float], sigma_scale: SigmaScale = "raw"
    ) -> None:
        super().__init__()
        self.kinds = [name.partition("_")[0] for name in names]
        _check(rates, self.kinds, sigma_scale)
        self.rates = [float(rates.get(kind, 1)) for kind in self.kinds]
        self.sigma_scale = sigma_scale
        self.as_they_are = sigma_scale == "raw" and set(self.rates) == {1.0}

    def forward(self, stored: Tensor) -> Tensor:
        """Return the parameters, in the units of the equation."""
        if self.as_they_are:
            return stored
        scaled = [row * rate for row, rate in zip(stored, self.rates, strict=True)]
        return torch.stack(self._widths(_FROM_SCALE[self.sigma_scale], scaled))

    @torch.no_grad()
    def inverse(self, parameters: Tensor) -> Tensor:
        """Return the numbers to store; `log` and `softplus` are for positive widths."""
        scaled = self._widths(_TO_SCALE[self.sigma_scale], parameters)
        return torch.stack([row / rate for row, rate in zip(scaled, self.rates, strict=True)])

    @torch.no_grad()
    def taken_over(self, stored: Tensor, storage: "ParameterStorage") -> Tensor:
        """Return what to store for the parameters (P, I, O) that another storage holds.

        What is stored alike stays as it is, bit for bit. Kernels are even in their widths, so that
        a negative one can be stored as a logarithm too.
        """
        if (self.kinds, self.rates, self.sigma_scale) == (
            storage.kinds,
            storage.rates,
            storage.sigma_scale,
        ):
            return stored.clone()
        parameters = storage(stored)
        if self.sigma_scale != "raw":
            parameters = torch.stack(
                self._widths(lambda sigma: sigma.abs().clamp(min=SMALLEST_SIGMA), parameters)
            )
        return self.inverse(parameters)

    def _widths(self, change: Change, rows: Iterable[Tensor]) -> list[Tensor]:
        """The rows, those of widths changed."""
        pairs = zip(self.kinds, rows, strict=True)
        return [change(row) if kind == "sigma" else row for kind, row in pairs]

    def extra_repr(self) -> str:
        """Rates of the parameters, and the scale of the widths."""
        return f"rates={self.rates}, sigma_scale={self.sigma_scale!r}"


def _check(rates: Mapping[str, float], own_kinds: Iterable[str], sigma_scale: str) -> None:
    kinds = dict.fromkeys((*KINDS, *own_kinds))
    for kind, rate in rates.items():
        if kind not in kinds:
            raise ValueError(f"rates must be of {', '.join(kinds)}, got {kind!r}")
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate <= _FASTEST:
            raise ValueError(
                f"the rate of {kind} must be positive and at most {_FASTEST}, got {rate!r}"
            )
    if sigma_scale not in _FROM_SCALE:
        scales = ", ".join(_FROM_SCALE)
        raise ValueError(f"sigma_scale must be one of {scales}, got {sigma_scale!r}")
