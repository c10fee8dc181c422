"""What can be known of a Triton kernel without a card: its code, and a model of its time."""

from gaborseg.gpu.static.cards import CARDS, PROCESSORS, Card
from gaborseg.gpu.static.catalogue import plans
from gaborseg.gpu.static.compilation import Compiled, compiled
from gaborseg.gpu.static.launches import Launch, recorded_launches
from gaborseg.gpu.static.plan import Plan
from gaborseg.gpu.static.pretence import as_on_a_gpu
from gaborseg.gpu.static.time_model import Estimate, estimate, ffma_share

__all__ = [
    "CARDS",
    "PROCESSORS",
    "Card",
    "Compiled",
    "Estimate",
    "Launch",
    "Plan",
    "as_on_a_gpu",
    "compiled",
    "estimate",
    "ffma_share",
    "plans",
    "recorded_launches",
]
