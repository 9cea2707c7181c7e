"""Run methods side by side on data with known truth, and print and save one table of their scores.

    python benchmarks/accuracy.py --quick
    python benchmarks/accuracy.py --experiment trees --method scdart --method linear --seeds 5

Every run is a process of its own, which reads a file without pairs and labels. Peers are optional: those that cannot
be imported are skipped with a line that says so. Most need versions of their own of what they depend on. One option
makes an environment for each of these, and later runs find them. Another names an interpreter, whose environment needs
anndata, mudata and scikit-learn too:

    python benchmarks/accuracy.py --experiment peers --make-environments
    python benchmarks/accuracy.py --python glue=/path/to/environment/bin/python
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import pandas as pd
import typer
from _environments import ENVIRONMENTS, interpreter, make, why_none
from _experiments import experiments
from _report import KEYS, markdown, summarize
from _runner import Run, missing_requirement, run
from _scores import Scorer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from _experiments import Experiment

REPOSITORY = Path(__file__).resolve().parents[1]
DATA = REPOSITORY.parent / "shared" / "data"
DOCS = REPOSITORY / "docs"
RESULTS = REPOSITORY / "benchmarks" / "results"
MADE = REPOSITORY / "benchmarks" / "environments"
#: What people have to say of the results of an experiment, for the end of its page.
REMARKS = REPOSITORY / "benchmarks" / "remarks"

#: Characters of a line of code that the site shows without scrolling.
_LINE = 88


def main(
    experiment: Annotated[str, typer.Option(help=f"One of {', '.join(experiments(Path()))}.")] = "reference",
    quick: Annotated[bool, typer.Option("--quick", help="Short for --experiment quick.")] = False,
    method: Annotated[list[str] | None, typer.Option(help="Only this method; may be repeated.")] = None,
    dataset: Annotated[list[str] | None, typer.Option(help="Only data sets with this in their name.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Number of seeds; default as the experiment says.")] = None,
    python: Annotated[list[str] | None, typer.Option(help="METHOD=PATH of the interpreter for a method.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at a time.")] = 1,
    timeout: Annotated[float, typer.Option(help="Seconds after which a run is stopped.")] = 7_200,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep earlier results of runs that are not repeated now.")
    ] = False,
    data: Annotated[Path, typer.Option(envvar="SCDART_DATA", help="Folder with the stored data sets.")] = DATA,
    output: Annotated[Path, typer.Option(help="Folder of the results.")] = RESULTS,
    docs: Annotated[bool, typer.Option("--docs", help="Write the page of the documentation, too.")] = False,
    make_environments: Annotated[
        bool, typer.Option("--make-environments", help="First make the environments that are missing.")
    ] = False,
    environments: Annotated[Path, typer.Option(help="Folder with an environment for each method.")] = MADE,
    redraw: Annotated[
        bool, typer.Option("--redraw", help="Run nothing: page and figure again, from the runs stored with the page.")
    ] = False,
) -> None:
    """Run an experiment; write runs.csv, table.csv and table.md into a folder of its name."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    name = "quick" if quick else experiment
    pythons = dict(pair.split("=", 1) for pair in python or [])
    full = _experiment(name, data, [*(method or []), *pythons])
    chosen = replace(
        full,
        datasets=tuple(
            replace(one, n_seeds=seeds or one.n_seeds)
            for one in full.datasets
            if not dataset or any(part in one.name for part in dataset)
        ),
        methods={one: full.methods[one] for one in method or full.methods},
        n_seeds=seeds or full.n_seeds,
    )
    folder = output / name
    folder.mkdir(parents=True, exist_ok=True)
    stored = DOCS / "benchmarks" / "runs"  # runs that pages are made of
    if redraw:
        for file in ("runs.csv", "not-run.txt"):
            if (stored / f"{name}-{file}").exists():
                shutil.copy(stored / f"{name}-{file}", folder / file)
    elif make_environments:
        make(chosen.methods, environments)
    kept = (keep or redraw) and (folder / "runs.csv").exists()
    rows = pd.read_csv(folder / "runs.csv").to_dict("records") if kept else []
    skipped = _text(folder / "not-run.txt").splitlines() if kept else []
    if not redraw:
        tried = [*chosen.methods, *(one.name for one in chosen.datasets)]
        skipped = [line for line in skipped if not line.startswith(tuple(f"{one}: " for one in tried))]
        own = {one: found for one in chosen.methods if (found := interpreter(one, environments)) is not None}
        why = {one: why_none(one, environments) for one in chosen.methods}
        for row in _rows(chosen, own | pythons, jobs, timeout, folder / "logs", skipped, why):
            rows = [earlier for earlier in rows if any(earlier[key] != row[key] for key in KEYS)] + [row]
            pd.DataFrame(rows).to_csv(folder / "runs.csv", index=False)
        (folder / "not-run.txt").write_text("".join(f"{line}\n" for line in skipped))

    if not rows:
        raise typer.Exit(1)
    runs = pd.DataFrame(rows)
    summarize(runs).to_csv(folder / "table.csv", index=False)
    if kept:  # the page shows more than what ran now
        seen = {*runs["method"], *runs["dataset"], *(line.partition(":")[0] for line in skipped)}
        method = _named_in(seen, full.methods)
        dataset = _named_in(seen, [one.name for one in full.datasets])
    made = any(one in ENVIRONMENTS and one not in pythons for one in method or full.methods)
    command = _command(name, method, dataset, seeds, pythons, make_environments=made)
    figure = None
    if full.draw is not None:
        figure = f"{name}.png"
        full.draw(runs, folder / figure)
    page = markdown(runs, full, command, skipped, figure)
    (folder / "table.md").write_text(page)
    if docs:
        stored.mkdir(parents=True, exist_ok=True)
        for file in ("runs.csv", "not-run.txt"):
            shutil.copy(folder / file, stored / f"{name}-{file}")
        if figure is not None:
            shutil.copy(folder / figure, DOCS / "_static" / figure)
            figure = f"../_static/{figure}"
        remarks = _text(REMARKS / f"{name}.md")
        page = markdown(runs, full, command, skipped, figure, f"{stored.name}/{name}-runs.csv", remarks)
        (DOCS / "benchmarks" / f"{'accuracy' if name == 'reference' else name}.md").write_text(page)
    print(page)


def _text(file: Path) -> str:
    return file.read_text() if file.exists() else ""


def _named_in(seen: set[str], known: Iterable[str]) -> list[str] | None:
    """Which known methods or data sets were seen; `None` for all of them."""
    found = [one for one in known if one in seen]
    return None if found == list(known) else found


def _experiment(name: str, data: Path, methods: list[str]) -> Experiment:
    known = experiments(data)
    if name not in known:
        raise typer.BadParameter(f"experiment {name!r} is not one of {', '.join(known)}.")
    unknown = [one for one in methods if one not in known[name].methods]
    if unknown:
        raise typer.BadParameter(f"{unknown} are not among the methods of {name!r}: {', '.join(known[name].methods)}.")
    return known[name]


def _rows(
    chosen: Experiment,
    pythons: dict[str, str],
    jobs: int,
    timeout: float,
    logs: Path,
    skipped: list[str],
    why: dict[str, str] | None = None,
) -> Iterator[dict[str, object]]:
    """Run every method on every data set and seed; yield the scores and the cost of each run, or why it has none.

    What is left out is printed, and added to `skipped`; `why` says more of it, where more is known.
    """

    def skip(what: str, reason: object) -> None:
        skipped.append(f"{what}: {reason}")
        print(f"skipped {skipped[-1]}", flush=True)

    interpreter = {name: pythons.get(name, sys.executable) for name in chosen.methods}
    methods = {}
    for name, method in chosen.methods.items():
        if reason := missing_requirement(method, interpreter[name]):
            skip(name, (why or {}).get(name) or reason)
        else:
            methods[name] = method
    for dataset in chosen.datasets:
        for seed in range(dataset.n_seeds or chosen.n_seeds):
            try:
                problem = dataset.problem(seed)
            except FileNotFoundError as error:
                skip(dataset.name, error)
                break
            with tempfile.TemporaryDirectory() as blind, ThreadPoolExecutor(jobs) as pool:
                files = problem.write(Path(blind))
                scorers = {cells: Scorer(problem, cells) for cells in files}
                place = logs / _slug(dataset.name) / str(seed)
                futures = {
                    name: pool.submit(run, method, files, seed, place / _slug(name), interpreter[name], timeout)
                    for name, method in methods.items()
                    if seed == 0 or name not in chosen.once
                }
                for name, future in futures.items():
                    scores = _scores(future.result(), scorers)
                    print(f"{dataset.name}, seed {seed}, {name}: {_brief(scores)}", flush=True)
                    yield {"dataset": dataset.name, "method": name, "seed": seed} | scores


def _scores(outcome: Run, scorers: dict[str, Scorer]) -> dict[str, object]:
    if outcome.embedding is None:
        return {"failure": outcome.failure}
    try:
        return scorers[outcome.cells](outcome.embedding) | outcome.report
    except ValueError as error:  # coordinates that are not numbers, for one
        return {"failure": f"cannot be scored: {error}"}


def _brief(scores: dict[str, object]) -> str:
    if "failure" in scores:
        return f"failed: {scores['failure']}"
    shown = [f"{name} {scores[name]:.3f}" for name in ("foscttm", "tau") if name in scores]
    return ", ".join([*shown, f"{scores['cpu_seconds']:.0f} s of CPU, {scores['memory_gib']:.1f} GiB"])


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower()


def _command(
    name: str,
    method: list[str] | None,
    dataset: list[str] | None,
    seeds: int | None,
    pythons: dict[str, str],
    *,
    make_environments: bool = False,
) -> str:
    """The command to repeat this with, but for where things lie on this machine, in lines that fit a page."""
    options = [("--experiment", name)]
    options += [
        (flag, value) for flag, values in (("--method", method), ("--dataset", dataset)) for value in values or []
    ]
    options += [("--seeds", str(seeds))] if seeds else []
    options += [("--python", f"{one}=path/to/python") for one in pythons]
    options += [("--make-environments",)] if make_environments else []
    lines = ["python benchmarks/accuracy.py"]
    for option in map(shlex.join, options):
        if len(lines[-1]) + len(option) > _LINE:
            lines.append("   ")
        lines[-1] += f" {option}"
    return " \\\n".join(lines)


if __name__ == "__main__":
    typer.run(main)
