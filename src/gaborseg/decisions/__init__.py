"""From a network's logits to labels."""

from gaborseg.decisions.argmax import Argmax
from gaborseg.decisions.calibrated import Calibrated

__all__ = ["Argmax", "Calibrated"]
