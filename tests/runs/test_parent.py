import os
import signal
import subprocess
import sys
import time

import pytest

from config import PROJECT
from gaborseg.runs import end_with_parent, lead_children, lead_these

CHILD = """
import os, sys, time
sys.path.insert(0, {project!r})
from gaborseg.runs.parent import end_with_parent, watch_parent
{watch}
print(os.getpid(), flush=True)
time.sleep(60)
"""
PARENT = """
import os, subprocess, sys, time
sys.path.insert(0, {project!r})
from gaborseg.runs import lead_children
environment = {{**os.environ, **lead_children()}}
subprocess.Popen([sys.executable, "-c", {child!r}], env=environment)
time.sleep(60)
"""


@pytest.mark.parametrize("watch", ["end_with_parent()", "watch_parent(os.getppid())"])
def test_a_child_ends_when_its_parent_is_killed(watch: str) -> None:
    child = CHILD.format(project=str(PROJECT), watch=watch)
    code = PARENT.format(project=str(PROJECT), child=child)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
    assert ends(pid)


def test_a_child_whose_parent_is_gone_already_ends_at_once() -> None:
    child = CHILD.format(project=str(PROJECT), watch="end_with_parent()")
    with subprocess.Popen(["true"]) as gone:
        environment = {**os.environ, "GABORSEG_PARENT": str(gone.pid)}
    done = subprocess.run([sys.executable, "-c", child], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL


def test_a_command_that_a_child_starts_through_a_shell_is_let_live() -> None:
    code = "from gaborseg.runs.parent import end_with_parent; end_with_parent()"
    words = ["sh", "-c", '"$0" -c "$1"; exit $?', sys.executable, code]
    done = subprocess.run(words, env={**os.environ, **lead_children()}, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize("told", ["", "abc", "-1", "0"])
def test_what_is_no_process_leads_nobody(told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GABORSEG_PARENT", told)
    end_with_parent()
    assert "GABORSEG_PARENT" not in os.environ


def test_only_the_children_of_the_block_are_led() -> None:
    with lead_these():
        assert os.environ["GABORSEG_PARENT"] == str(os.getpid())
    assert "GABORSEG_PARENT" not in os.environ


WORKER = """
import os, signal, sys, time
sys.path.insert(0, {project!r})
from gaborseg.data.sampling import begin_worker
pid = os.fork()
if pid == 0:
    begin_worker(0)
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(60)
os.waitpid(pid, os.WUNTRACED)
print(pid, flush=True)
time.sleep(60)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can do it")
def test_a_stopped_worker_of_a_loader_ends_when_its_training_is_killed() -> None:
    code = WORKER.format(project=str(PROJECT))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as training:
        assert training.stdout is not None
        pid = int(training.stdout.readline())
        training.send_signal(signal.SIGKILL)
    assert ends(pid)


def ends(pid: int) -> bool:
    """Whether a process, which is not a child of this one, ends within some seconds."""
    words = ["ps", "-o", "stat=", "-p", str(pid)]
    for _ in range(100):
        stat = subprocess.run(words, capture_output=True, text=True, check=False).stdout
        if not stat or stat.startswith("Z"):  # nobody may reap it, in a container without an init
            return True
        time.sleep(0.1)
    return False
