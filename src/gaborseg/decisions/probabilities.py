"""What a network and its decision say as probabilities."""

from collections.abc import Iterator

from torch import Tensor, nn

from gaborseg.decisions.calibrated import Calibrated, calibrated_scores


def probabilities(decision: nn.Module, logits: Tensor) -> Iterator[Tensor]:
    """Yield the softmax and, of a calibrated decision, its lines too, within [0, 1].

    The lines are least-squares fits to what is 1 in a structure and 0 elsewhere: estimates of its
    probability. They need not add up to 1.

    Args:
        decision: Maps logits to a label map.
        logits: (B, C, *S).

    Yields:
        One or two tensors, (B, C, *S) each, one after the other: each may fill the memory.
    """
    softmax = logits.float().softmax(dim=1)
    yield softmax
    if isinstance(decision, Calibrated):
        yield calibrated_scores(softmax, decision.scale, decision.offset).clamp_(0, 1)
