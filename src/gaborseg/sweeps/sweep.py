"""Running the cells of a sweep: some at a time, each in its own process, whatever happens to one.

A cell that was killed is started once more and goes on where it was; an error is final. The next
start of the sweep tries again whatever is not done.
"""

import contextlib
import signal
import time
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from types import FrameType

from gaborseg.runs import RunState, Stage, note_failure, read_state, tidy_up
from gaborseg.sweeps.cells import Cell, CellProcess, killed_by
from gaborseg.sweeps.machine import DevicePool, Machine

_ATTEMPTS = 2
_POLL = 0.1  # seconds between two looks at the processes
_LOOK = 1.0  # seconds between two looks at the running cells' files
_PATIENCE = 60.0  # seconds that interrupted cells have to end on their own
SETTLED = (Stage.DONE, Stage.PAUSED)
"""Where a cell is as far as it is to come."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass
class Entry:
    """A cell and what has become of it.

    Attributes:
        cell: The cell.
        state: What its files say, or what its end was.
        attempts: How often it was started by this sweep.
        process: What works on it now.
        gpus: What it has been lent.
        began: When it was last started, by ``time.monotonic``.
        seconds: How long this sweep has worked on it.
    """

    cell: Cell
    state: RunState = field(default_factory=lambda: RunState(Stage.WAITING))
    attempts: int = 0
    process: CellProcess | None = None
    gpus: tuple[str, ...] = ()
    began: float = 0.0
    seconds: float = 0.0

    @property
    def stage(self) -> Stage:
        """Return where the cell stands."""
        return self.state.stage


class Display(contextlib.AbstractContextManager[None]):
    """Shows a sweep while it is entered."""

    def __exit__(self, *details: object) -> None:
        """Stop showing it."""

    @abstractmethod
    def event(self, entry: Entry, what: str, lines: Sequence[str] = ()) -> None:
        """Tell what happened to a cell, with the lines that say more."""

    @abstractmethod
    def update(self, entries: Sequence[Entry]) -> None:
        """Show where all cells are."""


class Sweep:
    """The cells of a sweep on this machine.

    Args:
        cells: What is to be done, in this order.
        machine: Where, and how many at a time.
        display: What shows it.
    """

    def __init__(self, cells: Sequence[Cell], machine: Machine, display: Display) -> None:
        self.entries = [Entry(cell) for cell in cells]
        self.machine = machine
        self.pool = DevicePool(machine.gpus)
        self.display = display
        self.looked = 0.0

    def run(self) -> list[Entry]:
        """Work until every cell is done or has failed, and return what became of each.

        Raises:
            KeyboardInterrupt: If a signal ended the work; every cell's process has ended then.
        """
        try:
            self._sort_out()
            while self._of(Stage.WAITING) or self._of(Stage.RUNNING):
                self._start()
                self._collect()
                self._look()
                time.sleep(_POLL)
        except BaseException:
            self._interrupt()
            raise
        return self.entries

    def _tell(self, entry: Entry, what: str, lines: Sequence[str] = ()) -> None:
        """Tell what happened to a cell; a terminal that is gone, or a full disk, stops nothing."""
        with contextlib.suppress(OSError):
            self.display.event(entry, what, lines)

    def _of(self, stage: Stage) -> list[Entry]:
        return [entry for entry in self.entries if entry.stage == stage]

    def _sort_out(self) -> None:
        """Set aside the cells that are done or must not be started."""
        for entry in self.entries:
            state = _standing(entry.cell)
            if entry.cell.refusal:
                entry.state = RunState(Stage.FAILED, message=entry.cell.refusal)
                self._tell(entry, "refused", [entry.cell.refusal])
            elif state.stage in SETTLED:
                entry.state = state
                tidy_up(entry.cell.folder)
                what = "is done" if state.stage == Stage.DONE else f"has {state.epoch} epochs"
                self._tell(entry, f"{what} already", _remarks(entry.cell))

    def _start(self) -> None:
        """Start waiting cells, in their order, as far as places and GPUs allow."""
        for entry in self._of(Stage.WAITING):
            if len(self._of(Stage.RUNNING)) >= self.machine.jobs:
                return
            gpus = self.pool.take(entry.cell.gpus)
            if gpus is None:
                return
            entry.gpus = gpus
            self._start_one(entry)

    def _start_one(self, entry: Entry) -> None:
        before = read_state(entry.cell.folder)
        entry.state = RunState(Stage.RUNNING, before.epoch, before.epochs, before.dice)
        entry.attempts += 1
        entry.began = time.monotonic()
        try:
            environment = self.machine.environment_of(entry.cell, entry.gpus)
            entry.process = CellProcess(entry.cell, environment)
        except OSError as error:
            self._fail(entry, str(error), [])
            return
        where = f" on GPU {','.join(entry.gpus)}" if entry.gpus else ""
        done = f" after epoch {before.epoch}" if before.epoch else ""
        what = ("goes on" if done else "starts") + done + where
        self._tell(entry, what, _remarks(entry.cell) if done else ())

    def _collect(self) -> None:
        """Take up the cells whose processes have ended."""
        for entry in self._of(Stage.RUNNING):
            code = entry.process.poll() if entry.process else None
            if entry.process and code is not None:
                self._end(entry, code, entry.process.last_lines())

    def _end(self, entry: Entry, code: int, lines: list[str]) -> None:
        state = _standing(entry.cell)
        if state.stage in SETTLED:
            tidy_up(entry.cell.folder)
            self._release(entry, state)
            what = "done" if state.stage == Stage.DONE else f"paused after epoch {state.epoch}"
            self._tell(entry, f"{what} in {entry.seconds:.0f} s")
        elif (name := killed_by(code)) and not state.message and entry.attempts < _ATTEMPTS:
            self._release(entry, RunState(Stage.WAITING, state.epoch, state.epochs, state.dice))
            self._tell(entry, f"was killed by {name}: it is started once more")
        else:
            killed = f"killed by {name}, perhaps for want of memory" if name else ""
            last = lines[-1] if lines else f"it ended with exit code {code}"
            self._fail(entry, state.message or killed or last, lines)

    def _fail(self, entry: Entry, message: str, lines: Sequence[str]) -> None:
        note_failure(entry.cell.folder, message)
        seen = read_state(entry.cell.folder)
        self._release(entry, RunState(Stage.FAILED, seen.epoch, seen.epochs, message=message))
        self._tell(entry, f"failed: {message}", lines or [message])

    def _release(self, entry: Entry, state: RunState) -> None:
        entry.state = state
        entry.process = None
        entry.seconds += time.monotonic() - entry.began
        self.pool.give_back(entry.gpus)
        entry.gpus = ()

    def _look(self) -> None:
        """Read how far the running cells are, now and then."""
        now = time.monotonic()
        if now - self.looked < _LOOK:
            return
        self.looked = now
        for entry in self._of(Stage.RUNNING):
            seen = read_state(entry.cell.folder)
            entry.state = RunState(
                Stage.RUNNING, seen.epoch, seen.epochs, seen.dice, seen.seconds_left
            )
        with contextlib.suppress(OSError):
            self.display.update(self.entries)

    def _interrupt(self) -> None:
        """Interrupt the running cells and wait for them; a second signal ends them at once."""
        running = self._of(Stage.RUNNING)
        for entry in running:
            if entry.process:
                entry.process.signal(signal.SIGINT, group=False)
                entry.process.signal(signal.SIGCONT)  # what is stopped cannot end
        with contextlib.suppress(KeyboardInterrupt):
            for entry in running:
                self._tell(entry, "is interrupted")
            self._wait_for(running)
        for entry in running:
            self._kill(entry)

    def _wait_for(self, entries: Sequence[Entry]) -> None:
        deadline = time.monotonic() + _PATIENCE
        while any(entry.process and entry.process.poll() is None for entry in entries):
            if time.monotonic() > deadline:
                return
            time.sleep(_POLL)

    def _kill(self, entry: Entry) -> None:
        """End what is left of a cell; its files say how far it is."""
        if entry.process and entry.process.poll() is None:
            entry.process.signal(signal.SIGKILL)
            entry.process.process.wait()
        self._release(entry, read_state(entry.cell.folder))


def _standing(cell: Cell) -> RunState:
    """Return what a cell's files say; a stopped one that has its epochs is paused."""
    state = read_state(cell.folder)
    if cell.until is None or state.stage != Stage.STOPPED or state.epoch < cell.until:
        return state
    return replace(state, stage=Stage.PAUSED)


def _remarks(cell: Cell) -> list[str]:
    """Return what to say about the part of a cell that is done."""
    return [f"with other code: {cell.remark}"] if cell.remark else []


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Let every signal that asks for an end interrupt as Ctrl-C does.

    A signal that was ignored (by ``nohup``, or SIGINT by a shell's ``&``) stays without effect, but
    through a handler of ours: children, which are to be interrupted, must not inherit the ignoring.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    def do_nothing(number: int, frame: FrameType | None) -> None:
        pass

    before = {number: signal.getsignal(number) or signal.SIG_DFL for number in SIGNALS}
    for number, handler in before.items():
        signal.signal(number, do_nothing if handler == signal.SIG_IGN else interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
