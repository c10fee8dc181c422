"""What Triton makes of a launch for a card: registers, memory, machine code. No card is needed."""

from __future__ import annotations

import functools
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gaborseg.gpu.kernels.jit import triton
from gaborseg.gpu.static.cards import WARP
from gaborseg.gpu.static.launches import Launch
from gaborseg.gpu.static.sass import Code, code_of

_BLACKWELL = 100


@dataclass(frozen=True)
class Compiled:
    """A kernel as it would run on a card.

    Attributes:
        warps: Groups of 32 threads that a program has.
        registers: 32-bit registers of each thread.
        spilled: Bytes of registers that each thread must keep in memory instead.
        shared: Bytes of shared memory of a program.
        binary: The machine code.
    """

    warps: int
    registers: int
    spilled: int
    shared: int
    binary: bytes

    @functools.cached_property
    def code(self) -> Code:
        """Its instructions and loops."""
        return code_of(_inspected(self.binary, "nvdisasm", "-c"))


def compiled(launch: Launch, capability: int) -> Compiled:
    """Compile a launch for a compute capability, 90 for 9.0.

    Raises:
        Exception: Triton cannot compile it; of which kind depends on why.
    """
    result = _translated(launch, capability)
    binary = result.asm["cubin"]
    usage = _inspected(binary, "cuobjdump", "-res-usage")
    used = {name: int(count) for name, count in re.findall(r"(REG|STACK|LOCAL):(\d+)", usage)}
    spilled = _spilled(result.asm["ptx"], capability) if used["STACK"] + used["LOCAL"] else 0
    about = result.metadata
    return Compiled(about.num_warps, used["REG"], spilled, about.shared, binary)


def _translated(launch: Launch, capability: int) -> Any:
    """Compile as a launch would, with what Triton assumes of these very arguments."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, make_backend
    from triton.runtime.jit import create_function_from_signature

    target = GPUTarget("cuda", capability, WARP)
    backend, kernel = make_backend(target), launch.kernel
    bind = create_function_from_signature(kernel.signature, kernel.params, backend)
    bound, assumed, options = bind(**launch.arguments, **launch.options)
    chosen, signature, constants, attributes = kernel._pack_args(
        backend, options, bound, assumed, options
    )
    source = ASTSource(kernel, signature, constants, attributes)
    return triton.compile(source, target=target, options=chosen.__dict__)


def _spilled(ptx: str, capability: int) -> int:
    """Bytes that the assembler says it has spilled, stores and loads."""
    (architecture,) = re.findall(r"^\.target (\w+)", ptx, re.MULTILINE)
    name = "ptxas-blackwell" if capability >= _BLACKWELL else "ptxas"
    options = ("-v", f"--gpu-name={architecture}", "-o", "/dev/null")
    report = _inspected(ptx.encode(), name, *options)
    return sum(map(int, re.findall(r"(\d+) bytes spill (?:stores|loads)", report)))


def _inspected(content: bytes, tool: str, *options: str) -> str:
    """What one of NVIDIA's programs, which Triton brings, says about a file."""
    program = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / tool
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        command = [str(program), *options, file.name]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    return done.stdout + done.stderr
