"""Weights & Biases tracking that works without an account: offline unless a key is found."""

import logging
import netrc
import os
import sys
from typing import Any

from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from gaborseg.runs import Run

log = logging.getLogger(__name__)

_HOST = "api.wandb.ai"
MODES = ("auto", "online", "offline")


def wandb_logger(run: Run, *, project: str, entity: str | None, mode: str) -> WandbLogger:
    """Return a logger whose run has a name, tags, a group and an id that the choices determine.

    Args:
        run: What is tracked; its folder holds the offline files.
        project: W&B project.
        entity: W&B user or team; the account's own if None.
        mode: ``"online"``, ``"offline"``, or ``"auto"``: what ``WANDB_MODE`` says, else online
            if a key is found.

    Raises:
        ValueError: If the mode is unknown.
    """
    if mode not in MODES:
        raise ValueError(f"logger.wandb.mode must be one of {', '.join(MODES)}, got {mode!r}")
    import wandb  # slow to import, and not needed without this logger

    wandb.setup(wandb.Settings(silent=True))
    if mode == "auto":
        mode = os.environ.get("WANDB_MODE") or ("online" if has_key() else "offline")
    offline = mode == "offline"
    logger = WandbLogger(
        save_dir=run.folder,
        project=project,
        entity=entity,
        name=run.name,
        id=run.identity,
        group=run.group,
        job_type="train",
        tags=list(run.tags),
        offline=offline,
        mode=mode,
        resume=None if offline else "allow",
    )
    if offline:
        _say_offline(run)
    return logger


@rank_zero_only
def _say_offline(run: Run) -> None:
    log.info(f"W&B is offline; to upload: wandb sync {run.folder}/wandb/offline-run-*")


def has_key() -> bool:
    """Return whether a W&B key is set in the environment or stored by ``wandb login``."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc.netrc().authenticators(_HOST) is not None
    except (OSError, netrc.NetrcParseError):
        return False


@rank_zero_only
def use_epoch_as_axis(logger: WandbLogger) -> None:
    """Plot every metric against the epoch, so that resumed runs continue their curves."""
    run: Any = logger.experiment
    run.define_metric("epoch")
    run.define_metric("*", step_metric="epoch")


def finish(exit_code: int) -> None:
    """Close the W&B run of this process, if one is open, as a success (0) or a failure."""
    wandb = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None:
        wandb.finish(exit_code=exit_code)
