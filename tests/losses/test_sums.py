import math
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gaborseg.losses import CCCLoss, PCCLoss, StatisticsLoss, sums
from gaborseg.losses.pcc import pearson_correlation
from gaborseg.losses.statistics import LabelStatistics
from gaborseg.losses.sums import label_sums, native_available

needs_native = pytest.mark.skipif(not native_available(), reason="no compiler")

SHAPES = [
    (1, 1, 3),
    (1, 2, 1, 1, 1),
    (2, 3, 5, 4, 3),
    (3, 21, 7, 9, 11),
    (1, 130, 300),  # a block and a bit
    (2, 2, 26, 26, 26),  # several chunks
]


@pytest.fixture(params=["native", "slabs"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Both ways to the sums."""
    if request.param == "slabs":
        monkeypatch.setattr(sums, "native", lambda: None)
    elif not native_available():
        pytest.skip("no compiler")
    return request.param


def example(*shape: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Random logits (B, C, *S), with large ones among them, and a label map (B, *S)."""
    generator = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(shape, dtype=torch.float64, generator=generator)
    target = torch.randint(shape[1], (shape[0], *shape[2:]), generator=generator)
    return logits.to(dtype), target


def definition(logits: Tensor, target: Tensor) -> Tensor:
    """The sums in float64, with a one-hot volume."""
    log_p = logits.double().log_softmax(1).flatten(2)
    y = F.one_hot(target.flatten(1).long(), logits.shape[1]).transpose(1, 2)
    p = log_p.exp()
    return torch.stack([p, p.square(), p * y, y.double(), log_p * y]).sum(-1)


def with_gradient(function, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[no-untyped-def]
    """The sums, and the gradient of a mix of them that favours none."""
    leaf = logits.detach().requires_grad_()
    result = function(leaf, target)
    generator = torch.Generator().manual_seed(1)
    mix = torch.randn(result.shape, dtype=torch.float64, generator=generator)
    return result.detach(), torch.autograd.grad((result * mix).sum(), leaf)[0]


def largest_error(got: Tensor, want: Tensor) -> float:
    """Largest difference over the largest value, if that is above 1."""
    return ((got.double() - want).abs().max() / want.abs().max().clamp_min(1)).item()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("dtype", "bound", "gradient_bound"),
    [(torch.float32, 1e-6, 3e-6), (torch.float64, 1e-14, 1e-14)],
)
def test_sums_and_gradient_are_those_of_the_definition(
    path: str, shape: tuple[int, ...], dtype: torch.dtype, bound: float, gradient_bound: float
) -> None:
    logits, target = example(*shape, dtype=dtype)
    got, grad = with_gradient(label_sums, logits, target)
    want, want_grad = with_gradient(definition, logits.double(), target)
    assert got.dtype == torch.float64
    assert grad.dtype == dtype
    for kind in range(len(got)):
        assert largest_error(got[kind], want[kind]) <= bound
    assert largest_error(grad, want_grad) <= gradient_bound


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32])
def test_any_integers_are_labels(path: str, dtype: torch.dtype) -> None:
    logits, target = example(2, 3, 4, 5)
    assert torch.equal(label_sums(logits, target.to(dtype)), label_sums(logits, target))


def test_strides_do_not_matter(path: str) -> None:
    logits, target = example(2, 3, 4, 5, 6)
    want = with_gradient(label_sums, logits, target)
    padded = F.pad(logits, (1, 2, 0, 1, 1, 0))[..., 1:, :-1, 1:-2]
    turned = target.transpose(1, 3).contiguous().transpose(1, 3)
    for other in (padded, logits.to(memory_format=torch.channels_last_3d)):
        assert not other.is_contiguous()
        got = with_gradient(label_sums, other, turned)
        torch.testing.assert_close(got, want, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_logits_have_finite_sums_and_gradients(path: str, dtype: torch.dtype) -> None:
    logits, target = example(1, 4, 6, 7, dtype=dtype)
    got, grad = with_gradient(label_sums, 1e4 * logits, target)
    want, _ = with_gradient(definition, (1e4 * logits).double(), target)
    torch.testing.assert_close(got, want, rtol=1e-6, atol=0)
    assert torch.isfinite(grad).all()


@pytest.mark.parametrize("gap", [30, 45, 60, 70])
def test_the_gradient_of_a_correlation_does_not_depend_on_the_size_of_the_scores(
    path: str, gap: int
) -> None:
    """Its factors, up to 1 / variance, are far beyond float32: exp(140)."""

    def gradient(function, logits: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        leaf = logits.detach().requires_grad_()
        statistics = LabelStatistics(target[0].numel(), *function(leaf, target))
        return torch.autograd.grad(pearson_correlation(statistics)[0, 3], leaf)[0]

    logits, target = example(1, 4, 6, 7, dtype=torch.float32)
    logits[:, 3] -= gap
    got, want = gradient(label_sums, logits), gradient(definition, logits.double())
    assert want[:, 3].abs().max() > 1e-3
    torch.testing.assert_close(got.double(), want, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("kind", [PCCLoss, CCCLoss])
@pytest.mark.parametrize(("offset", "spread"), [(-50, 1), (-80, 1e-5), (-86, 1e-3), (-100, 1)])
def test_tiny_scores_of_any_label_have_finite_gradients(
    path: str, kind: type[StatisticsLoss], offset: float, spread: float
) -> None:
    logits, target = example(1, 4, 6, 7, dtype=torch.float32)
    logits[:, 2:] = offset + spread * logits[:, 2:]
    leaf = logits.requires_grad_()
    (gradient,) = torch.autograd.grad(kind()(leaf, target.clamp_max(2)), leaf)  # 3 is absent
    assert gradient.isfinite().all()


def test_a_label_that_is_ruled_out_has_no_score(path: str) -> None:
    logits, target = example(1, 4, 6, 7)
    logits[:, 3] = -math.inf
    p, pp, *_ = label_sums(logits, target.clamp_max(2))
    assert p[0, 3] == pp[0, 3] == 0
    torch.testing.assert_close(p.sum(), torch.tensor(42.0, dtype=torch.float64))


@pytest.mark.parametrize("payload", [0, 1])
def test_nan_stays_nan(path: str, payload: int) -> None:
    logits, target = example(1, 3, 40, dtype=torch.float32)
    logits[0, 1, 7] = torch.tensor(0x7FC00000 + payload, dtype=torch.int32).view(torch.float32)
    got, grad = with_gradient(label_sums, logits, target)
    assert got[0].isnan().all()
    assert grad[..., 7].isnan().all()


def test_equal_logits_of_many_labels_are_equally_likely(path: str) -> None:
    """In native code the product of 200 denominators of 500 overflows; its logarithm must not."""
    target = torch.zeros(1, 200, dtype=torch.int64)
    *_, log = label_sums(torch.zeros(1, 500, 200), target)
    assert log[0, 0].item() == pytest.approx(-200 * math.log(500))
    assert not log[0, 1:].any()


@pytest.mark.parametrize("label", [-1, 3, 2**32])
def test_label_out_of_range_is_an_error(path: str, label: int) -> None:
    logits, target = example(1, 3, 40)
    target[0, 17] = label
    with pytest.raises(RuntimeError, match=f"(?s)out of bounds.*{label}|{label}.*out of bounds"):
        label_sums(logits, target)


@pytest.mark.parametrize("shape", [(1, 2, 3, 4), (2, 3, 5)])
def test_gradient(path: str, shape: tuple[int, ...]) -> None:
    logits, target = example(*shape)
    assert torch.autograd.gradcheck(label_sums, (logits.requires_grad_(), target))


@needs_native
def test_result_does_not_depend_on_the_number_of_threads() -> None:
    logits, target = example(2, 3, 40, 41, 42, dtype=torch.float32)
    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2, 3, 7):
            torch.set_num_threads(count)
            results.append(with_gradient(label_sums, logits, target))
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(map(torch.equal, results[0], other))


@needs_native
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_opcheck(dtype: torch.dtype) -> None:
    logits, target = example(2, 3, 4, 5, 2, dtype=dtype)
    torch.library.opcheck(sums.label_sums_op, (logits.requires_grad_(), target))


@needs_native
def test_operator_saves_its_inputs_only() -> None:
    logits, target = example(1, 3, 4, 5)
    saved: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: saved.append(t.data_ptr()) or t, lambda t: t
    ):
        label_sums(logits.requires_grad_(), target)
    assert sorted(saved) == sorted([logits.data_ptr(), target.data_ptr()])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(path: str, dtype: torch.dtype) -> None:
    logits, target = example(1, 3, 4, 5)
    half = logits.to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got, grad = with_gradient(label_sums, half, target)
    want, want_grad = with_gradient(label_sums, half.float(), target)
    assert torch.equal(got, want)
    assert torch.equal(grad, want_grad.to(dtype))


@needs_native
def test_compiled_models_call_the_operator() -> None:
    logits, target = example(1, 3, 4, 5)

    def model(logits: Tensor, target: Tensor) -> Tensor:
        return label_sums(logits.tanh(), target).square()

    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    got, want = with_gradient(compiled, logits, target), with_gradient(model, logits, target)
    torch.testing.assert_close(got, want)
