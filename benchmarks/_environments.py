"""Virtual environments of the peers: what goes into each, making them, and finding them again.

An environment that cannot be made leaves a file with the reason, which tables then name.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: Seconds after which an installation is given up.
TIMEOUT = 1_200
#: Installed first and alone, so that what comes later finds it and takes no other one.
TORCH = "torch==2.13.0"
#: What the worker and the shared components need.
WORKER = ("anndata==0.12.19", "mudata==0.3.10", "numpy==2.4.6", "pandas==2.3.3", "scikit-learn==1.9.1", "scipy==1.17.1")


@dataclass(frozen=True)
class Environment:
    """What an environment holds."""

    packages: tuple[str, ...]
    #: Python that it is made with.
    python: str = "3.11"
    torch: bool = False
    #: Installed without what they ask for, where they ask for versions that nothing else here can live with.
    alone: tuple[str, ...] = ()

    def steps(self) -> list[list[str]]:
        """Arguments of each call of pip."""
        steps = [[TORCH]] if self.torch else []
        steps.append(list(self.packages))
        return [*steps, ["--no-deps", *self.alone]] if self.alone else steps

    def text(self) -> str:
        return "\n".join([f"python {self.python}", *(" ".join(step) for step in self.steps())]) + "\n"


#: The one table of versions, by method.
ENVIRONMENTS = {
    "harmony": Environment(("harmonypy==2.1.0", *WORKER)),
    "liger": Environment(("pyliger==0.2.4", *WORKER)),
    "moscot": Environment(("moscot==0.5.2", "scanpy==1.11.5", *WORKER)),
    "glue": Environment(("scglue==0.4.1", "scanpy==1.11.5", *WORKER), torch=True),
    "maxfuse": Environment(("maxfuse==0.0.2", "scanpy==1.11.5", *WORKER)),
    "uniport": Environment(("uniport==1.3", "scanpy==1.11.5", *WORKER), torch=True),
    "scconfluence": Environment(
        (
            *("geomloss==0.2.6", "muon==0.1.9", "pot==0.9.7.post1", "pytorch-lightning==2.6.6", "scikit-misc==0.5.3"),
            *("tensorboard==2.21.0", "scanpy==1.11.5", *WORKER),
        ),
        torch=True,
        alone=("scconfluence==0.1.1",),
    ),
    "unioncom": Environment(("matplotlib==3.11.2", "unioncom==0.4.0", "umap-learn==0.5.12", *WORKER), torch=True),
    "diagvi": Environment(("scvi-tools[diagvi]==1.5.1", "scikit-learn==1.9.1"), python="3.13", torch=True),
}


def make(
    names: Iterable[str],
    folder: Path,
    *,
    table: dict[str, Environment] = ENVIRONMENTS,
    call: Callable[[list[str]], None] | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Make the environments of these methods that are not there yet, or of other versions; go on where one fails."""
    call = call or _call
    for name in names:
        environment = table.get(name)
        if environment is None or interpreter(name, folder, table) is not None:
            continue
        say(f"environment of {name} ...")
        try:
            _make(environment, folder / name, call)
        except (OSError, RuntimeError) as error:
            shutil.rmtree(folder / name, ignore_errors=True)
            _reason(name, folder).write_text(f"{error}\n")
            say(f"no environment of {name}: {error}")
        else:
            _reason(name, folder).unlink(missing_ok=True)


def interpreter(name: str, folder: Path, table: dict[str, Environment] = ENVIRONMENTS) -> str | None:
    """Python of the environment of a method, if it was made to the end and as the table says now."""
    if name not in table:
        return None
    made = folder / name / "made.txt"
    return str(_python(made.parent)) if made.exists() and made.read_text() == table[name].text() else None


def why_none(name: str, folder: Path) -> str:
    """Why the environment of a method could not be made; empty if it was, or nobody tried."""
    reason = _reason(name, folder)
    return f"environment not made: {reason.read_text().strip()}" if reason.exists() else ""


def _make(environment: Environment, place: Path, call: Callable[[list[str]], None]) -> None:
    shutil.rmtree(place, ignore_errors=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    call([_base_python(environment.python), "-m", "venv", str(place)])
    for step in environment.steps():
        call([str(_python(place)), "-m", "pip", "install", "--quiet", *step])
    (place / "made.txt").write_text(environment.text())


def _base_python(version: str) -> str:
    """An interpreter of a version: this one, one on the path, or one of pyenv."""
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = [str(path) for path in sorted(root.glob(f"{version}.*/bin/python"))]
    if on_path := shutil.which(f"python{version}"):
        found.append(on_path)
    for python in reversed(found):  # a shim of pyenv may be on the path for a version that is not chosen
        if subprocess.run([python, "--version"], capture_output=True, check=False).returncode == 0:
            return python
    raise RuntimeError(f"there is no Python {version}")


def _python(place: Path) -> Path:
    return place / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def _reason(name: str, folder: Path) -> Path:
    return folder / f"{name}.failed.txt"


def _call(command: list[str]) -> None:
    """Run a command; what pip says of an error is the reason."""
    # Packages of the caller would be taken for installed.
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False, env=clean)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"{' '.join(command[1:])} took longer than {TIMEOUT} s") from None
    if ended.returncode:
        errors = re.findall(r"^\s*(?:ERROR|error): *(.+)$", ended.stderr, re.MULTILINE)
        raise RuntimeError(errors[0] if errors else (ended.stderr.strip().splitlines() or ["no message"])[-1])
