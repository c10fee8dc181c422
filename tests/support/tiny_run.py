"""A training of seconds, whose scores mean nothing."""

from pathlib import Path


def tiny_overrides(cohort: Path) -> list[str]:
    """Return the choices for three epochs of a tiny network on a tiny cohort, on the CPU."""
    return [
        "experiment=smoke",
        "kernel=conventional",
        "trainer=cpu",
        "trainer.max_epochs=3",
        "+trainer.enable_progress_bar=false",
        "~callbacks.progress",
        "logger=csv",
        "data=folder",
        f"data.root={cohort}",
        f"data.cache={cohort.parent / 'cache'}",
        "data.num_workers=0",
        "augmentation=paper",
        "network.dropout=0.2",
        "optimizer.lr=1e-2",
    ]
