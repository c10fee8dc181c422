import pytest

from config import compose_config
from gaborseg.interface import UserError, refuse_unread

CHOICES = {"kernel": "mixed", "experiment": "quickstart", "sweeps": "smoke"}


def check(*overrides: str) -> None:
    refuse_unread(compose_config([*overrides]), CHOICES, overrides)


@pytest.mark.slow
@pytest.mark.parametrize(
    "override",
    [
        "+sweeps=smoke",
        "+trainer.limit_train_batches=2",
        "++trainer.max_epochs=3",
        "+optimizer.weight_decay=0.1",
        "+kernel.gabor.bias=true",
        "+rates.own=2",
        "+callbacks.mine={_target_: my.Callback}",
        "+callbacks.mine._target_=my.Callback",
        "+augmentation.more=1",
        "seed=1",
        "~callbacks.progress",
        "++seed=1",
        "++objective=val/loss",
    ],
)
def test_what_something_reads_may_be_added(override: str) -> None:
    check(override)


def test_what_another_setting_refers_to_is_read() -> None:
    check("+mine.rate=0.1", "optimizer.lr=${mine.rate}")


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("+sed=1", r"\+sed must be a setting that something reads: the nearest is seed;"),
        ("+max_epochs=1", "the nearest is trainer.max_epochs;"),
        ("+optimzer.lr=1e-3", "the nearest is optimizer.lr;"),
        ("++precison=64-true", "the nearest is precision;"),
        ("+kernel.more=1", r"\+kernel.more must be"),
        ("+zzzzzz=1", r"something reads: --cfg job shows all settings"),
    ],
)
def test_what_nothing_reads_is_refused_with_the_nearest(override: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        check(override)
