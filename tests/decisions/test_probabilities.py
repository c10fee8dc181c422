"""What is a probability of a network and its decision."""

import torch

from gaborseg.decisions import Argmax, Calibrated, probabilities

LOGITS = torch.tensor([[[0.0, 2.0], [0.0, -1.0]]])


def test_an_argmax_has_the_softmax_alone() -> None:
    (found,) = probabilities(Argmax(), LOGITS)
    assert torch.equal(found, LOGITS.softmax(1))


def test_a_calibrated_decision_has_its_lines_too_within_bounds() -> None:
    decision = Calibrated(2)
    decision.scale.copy_(torch.tensor([3.0, 2.0]))
    decision.offset.copy_(torch.tensor([-1.0, -0.5]))
    softmax, lines = probabilities(decision, LOGITS)
    expected = (3 * softmax[:, 0] - 1).clamp(0, 1), (2 * softmax[:, 1] - 0.5).clamp(0, 1)
    torch.testing.assert_close(lines, torch.stack(expected, 1))
