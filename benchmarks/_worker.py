"""One run of one method, in a process of its own: reads a job, writes an embedding and what it cost."""

from __future__ import annotations

import json
import resource
import sys
import time
from importlib import metadata
from pathlib import Path

START = time.perf_counter()


def peak_memory() -> float:
    """Peak memory of this process in GiB."""
    status = Path("/proc/self/status")
    if status.exists():
        # ru_maxrss is inherited over fork and exec: at least the memory of the process that started this one.
        high_water_mark = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(high_water_mark.split()[1]) / 2**20
    unit = 1 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def cpu_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def version(package: str) -> str:
    """Name and version of a package; empty for `linear`, which is code of this folder."""
    try:
        return f"{package} {metadata.version(package)}"
    except metadata.PackageNotFoundError:
        return ""


def main(folder: Path) -> None:
    import _methods
    import mudata
    from _components import columns_stay

    job = json.loads((folder / "job.json").read_text())
    with columns_stay():
        train, cells = (mudata.read_h5mu(job[name]) for name in ("train", "cells"))
        embedding = getattr(_methods, job["function"])(train, cells, job["seed"], **job["options"])
    embedding.save(folder / "embedding.npz")
    report = {
        "version": version(job["requires"]),
        "cpu_seconds": cpu_seconds(),
        "seconds": time.perf_counter() - START,
        "memory_gib": peak_memory(),
    }
    (folder / "report.json").write_text(json.dumps(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
