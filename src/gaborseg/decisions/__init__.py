"""From a network's logits to labels."""

from gaborseg.decisions.argmax import Argmax
from gaborseg.decisions.calibrated import Calibrated
from gaborseg.decisions.finite import are_finite
from gaborseg.decisions.probabilities import probabilities

__all__ = ["Argmax", "Calibrated", "are_finite", "probabilities"]
