"""One run of one method, in a process of its own: reads a job, writes an embedding and what it cost."""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import time
from importlib import import_module, metadata
from pathlib import Path

START = time.perf_counter()
#: Distributions whose name is not that of their module.
DISTRIBUTIONS = {"scvi": "scvi-tools"}


def peak_memory(*, own: bool = False) -> float:
    """Peak memory in GiB of this process, or, unless only its own counts, of the largest that it started."""
    unit = 1 if sys.platform == "darwin" else 2**10
    started = 0.0 if own else resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit / 2**30
    status = Path("/proc/self/status")
    if status.exists():
        # ru_maxrss is inherited over fork and exec: at least the memory of the process that started this one.
        high_water_mark = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return max(started, int(high_water_mark.split()[1]) / 2**20)
    return max(started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30)


def cpu_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def version(package: str, language: str) -> str:
    """Name and version of a package; empty for `linear`, which is code of this folder."""
    if language == "R":
        code = f'cat(as.character(packageVersion("{package}")))'
        found = subprocess.run(["Rscript", "--vanilla", "-e", code], capture_output=True, text=True, check=True)
        return f"{package} {found.stdout}"
    package = DISTRIBUTIONS.get(package, package)
    try:
        return f"{package} {metadata.version(package)}"
    except metadata.PackageNotFoundError:
        return ""


def machine() -> str:
    """Processor, number of its cores that this process may use, and memory."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{names[0] if names else platform.processor()}, {cores} cores, {memory:.0f} GiB"


def main(folder: Path) -> None:
    import mudata
    from _components import columns_stay

    job = json.loads((folder / "job.json").read_text())
    with columns_stay():
        train, cells = (mudata.read_h5mu(job[name]) for name in ("train", "cells"))
        function = getattr(import_module(job["module"]), job["function"])
        embedding = function(train, cells, job["seed"], **job["options"])
    embedding.save(folder / "embedding.npz")
    report = {
        "cpu_seconds": cpu_seconds(),
        "seconds": time.perf_counter() - START,
        "memory_gib": peak_memory(),
        "version": version(job["requires"], job["language"]),
        "machine": machine(),
    }
    (folder / "report.json").write_text(json.dumps(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
