"""The command line: ``scdart demo``, ``scdart integrate`` and ``scdart report``."""

from __future__ import annotations

import logging
import time
from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from scdart import __version__
from scdart._constants import ATAC, GENE_ACTIVITY, RNA, X_SCDART
from scdart._files import check_place, is_zarr, replacing, size_of, stored_size
from scdart._terminal import Stages, bytes_of, peak_memory, progress_bar, reporting

# torch, scvi-tools and scanpy take seconds to import: commands import what they need, so that help is there at once.
if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from mudata import MuData

logger = logging.getLogger("scdart.cli")
app = typer.Typer(
    help="Integrate unpaired scRNA-seq and scATAC-seq into one latent space that keeps the trajectory.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

#: Memory that libraries take, in bytes, and the share of the rest that counts may take: what is made of them takes
#: a few times as much.
_OWN_MEMORY, _SHARE_OF_COUNTS = 3 * 2**29, 1 / 8

#: Cells that are compared with each other at most, since all with all is quadratic.
_MAX_SCORED = 10_000


class Preset(StrEnum):
    """Names of ``scdart.model.PRESETS``."""

    default = "default"
    paper = "paper"


class Domain(StrEnum):
    """How far from a gene its peaks may lie, where it is not 2 kb before it and its body."""

    auto = "auto"


Verbose = Annotated[bool, typer.Option("--verbose", help="Show debug messages, and the traceback of an error.")]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"scdart {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Integrate unpaired scRNA-seq and scATAC-seq into one latent space that keeps the trajectory."""


@app.command()
def demo(
    output_dir: Annotated[Path, typer.Option(help="Folder for scdart_demo.h5mu and scdart_demo.png.")] = Path(),
    seed: Annotated[int, typer.Option(min=0, help="Seed of simulation and training.")] = 0,
    cells: Annotated[int, typer.Option(min=50, help="Cells to simulate; each is seen as RNA and as ATAC.")] = 500,
    verbose: Verbose = False,
) -> None:
    """Integrate simulated cells, and show how well their pairs and order are recovered.

    Cells on a bifurcating tree are measured in both modalities, then given other names and another order: to the model,
    the two measurements of a cell are two cells. What belongs together is only used for the scores.
    """
    with reporting(verbose=verbose):
        output_dir.mkdir(parents=True, exist_ok=True)
        check_place(output_dir / "scdart_demo.h5mu", f"--output-dir {output_dir}")
        start = time.perf_counter()
        from scdart import _demo

        mdata = _demo.simulate_hidden_pairs(cells, seed)
        predicted = _demo.integrate(mdata, seed, **progress_bar())
        _demo.order(mdata)
        table = Table(
            "Recovered",
            *(Column(name, justify="right") for name in ("value", "blind guess", "perfect")),
            caption="FOSCTTM: fraction of samples closer than the true match.",
        )
        for what, *values in _demo.score(mdata, predicted):
            table.add_row(what, *(f"{value:.3f}" for value in values))
        _demo.draw(mdata, output_dir / "scdart_demo.png")
        with replacing(output_dir / "scdart_demo.h5mu") as part:
            mdata.write(part)
    Console().print(table)
    seconds = time.perf_counter() - start
    typer.echo(f"Done in {seconds:.0f} s. Written: {output_dir / 'scdart_demo.h5mu'}, {output_dir / 'scdart_demo.png'}")


@app.command()
def integrate(
    output: Annotated[
        Path, typer.Option(help="File to write: the input with its latent space, .h5mu; of a zarr store, another.")
    ],
    input_path: Annotated[
        Path | None,
        typer.Argument(
            metavar="[INPUT]",
            help="Raw counts of RNA and ATAC: .h5mu, a zarr store, or a multiome of Cell Ranger ARC.",
        ),
    ] = None,
    rna: Annotated[
        Path | None,
        typer.Option(help="In place of INPUT: RNA as .h5ad, .h5 of Cell Ranger, or folder with matrix.mtx."),
    ] = None,
    atac: Annotated[Path | None, typer.Option(help="The same of ATAC, whose cells are taken for others.")] = None,
    annotation: Annotated[
        Path | None, typer.Option(help="Genes as GTF, GFF3 or BED, may be gzipped. Not needed if there is a prior.")
    ] = None,
    gene_scores: Annotated[
        bool, typer.Option("--gene-scores", help="ATAC has gene scores in place of peaks, and needs no annotation.")
    ] = False,
    domain: Annotated[Domain | None, typer.Option(help="Let the data say how far from genes peaks may lie.")] = None,
    n_latent: Annotated[int | None, typer.Option(min=1, help="Dimensions of the latent space.")] = None,
    t: Annotated[list[int] | None, typer.Option("--t", help="Diffusion time; may be repeated.")] = None,
    preset: Annotated[Preset, typer.Option(help="Settings of the model; 'paper' are the published ones.")] = (
        Preset.default
    ),
    max_epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the larger modality.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of preparation and training.")] = 0,
    rna_mod: Annotated[str, typer.Option(help="Name of the RNA modality.")] = RNA,
    atac_mod: Annotated[str, typer.Option(help="Name of the ATAC modality.")] = ATAC,
    rna_layer: Annotated[str | None, typer.Option(help="Layer with the RNA counts; X if not given.")] = None,
    atac_layer: Annotated[str | None, typer.Option(help="Layer with the ATAC counts; X if not given.")] = None,
    groups_key: Annotated[
        str | None, typer.Option(help="Column of both modalities' obs that labels cells known to correspond.")
    ] = None,
    ordered: Annotated[
        bool, typer.Option("--ordered", help="Those labels follow each other, as time points do.")
    ] = False,
    batch_key: Annotated[
        str | None, typer.Option(help="Column of obs, of both modalities or of one, with each cell's batch.")
    ] = None,
    save_model: Annotated[Path | None, typer.Option(help="New folder to save the model to, as for a report.")] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Folder for the state of training, from which the same command goes on if it is killed."),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(help="Memory to get by with, such as 8GB: counts in .h5mu that take too much of it stay on disk."),
    ] = None,
    n_models: Annotated[
        int, typer.Option(min=1, help="Trainings with different random states; cells that move get less confidence.")
    ] = 1,
    label_key: Annotated[
        str | None, typer.Option(help="Column of both modalities' obs to score the result by; not used in training.")
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Integrate a file, and write it with the latent space in obsm["X_scdart"]."""
    with reporting(verbose=verbose) as stages:
        inputs = _inputs(input_path, rna, atac)
        store = _store(inputs, memory)
        _check_output(output, inputs)
        room = _room(memory)
        logger.info("Reading %s", " and ".join(path.name for path in inputs))
        mdata = _read_all(inputs, rna_mod, atac_mod) if store is None else _open(store)
        check_place(output, f"--output {output}", size_of(mdata) if store is None else stored_size(store))
        if annotation is not None and not annotation.is_file():
            raise FileNotFoundError(f"--annotation {annotation} does not exist.")
        if annotation is not None and gene_scores:
            raise ValueError("--gene-scores have no peaks, and --annotation is about these: leave out one of them.")
        for mod in (rna_mod, atac_mod):
            if label_key is not None and mod in mdata.mod and label_key not in mdata[mod].obs:
                raise KeyError(f"mdata[{mod!r}].obs has no column {label_key!r} (--label-key).")
        from scdart import pp, tl
        from scdart._stores import write_results

        if gene_scores:
            pp.gene_scores(mdata, rna_mod=rna_mod, atac_mod=atac_mod, atac_layer=atac_layer)
        with room:
            tl.integrate(
                mdata,
                annotation,
                domain=None if domain is None else "auto",
                n_latent=n_latent,
                t=t,
                preset=preset.value,
                max_epochs=max_epochs,
                rna_layer=rna_layer,
                atac_layer=atac_layer,
                rna_mod=rna_mod,
                atac_mod=atac_mod,
                groups_key=groups_key,
                ordered=ordered,
                batch_key=batch_key,
                random_state=seed,
                train_kwargs=progress_bar(),
                save_model=save_model,
                checkpoint=checkpoint,
                n_models=n_models,
            )
        logger.info("Writing %s", output)
        with replacing(output) as part:
            if store is None:
                mdata.write(part)
            else:
                write_results(mdata, store, part)
        summary = _describe(mdata, rna_mod, atac_mod, stages) | _evaluate(mdata, rna_mod, atac_mod, label_key)
        summary |= {"confidence": f"{mdata.uns['scdart']['confidence']:.2f} (0: no reason to believe it, 1: certain)"}
    table = Table(show_header=False, title=f"{', '.join(path.name for path in inputs)} -> {output}")
    for row in summary.items():
        table.add_row(*row)
    Console().print(table)


@app.command()
def report(
    input_path: Annotated[Path, typer.Argument(metavar="INPUT.h5mu", help="MuData with a latent space.")],
    output: Annotated[Path, typer.Option(help="Page to write, .html.")] = Path("report.html"),
    model_dir: Annotated[
        Path | None, typer.Option("--model", help="Folder of the saved model; without it, the page has no losses.")
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Load the model whatever its file holds, which may be code to run.")
    ] = False,
    color: Annotated[
        list[str] | None, typer.Option(help="Column to colour cells by; may be repeated. By default all that fit.")
    ] = None,
    title: Annotated[str | None, typer.Option(help="Heading of the page; the name of the input if not given.")] = None,
    max_cells: Annotated[int, typer.Option(min=1, help="Cells to draw at most.")] = 50_000,
    rna_mod: Annotated[str | None, typer.Option(help="Name of the RNA modality.")] = None,
    atac_mod: Annotated[str | None, typer.Option(help="Name of the ATAC modality.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of samples and drawing order.")] = 0,
    verbose: Verbose = False,
) -> None:
    """Write one HTML page about an integrated file: pictures, diagnostics, and the settings to repeat it."""
    with reporting(verbose=verbose):
        mdata = _read(input_path)
        if output.suffix != ".html":
            raise ValueError(f"--output {output} must end with .html.")
        check_place(output, f"--output {output}")
        if model_dir is not None and not (model_dir / "model.pt").is_file():
            raise FileNotFoundError(f"--model {model_dir} holds no model.pt: name the folder that model.save() wrote.")
        from scdart import pl
        from scdart.model import SCDART

        try:
            pl.report(
                mdata,
                None if model_dir is None else SCDART.load(model_dir, mdata, trust=trust),
                output,
                color=color,
                title=title or input_path.name,
                max_cells=max_cells,
                rna_mod=rna_mod,
                atac_mod=atac_mod,
                random_state=seed,
            )
        except ImportError as error:  # the extra is missing, which is not the program's fault
            raise ValueError(str(error)) from error
    typer.echo(f"Written: {output} ({output.stat().st_size / 2**20:.1f} MiB)")


def _read(path: Path) -> MuData:
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist.")
    import mudata

    try:
        mdata = mudata.read_h5mu(path)
    except Exception as error:  # what a wrong file raises depends on how it is wrong
        raise ValueError(f"{path} cannot be read as .h5mu: {error}") from error
    if not mdata.mod:  # mudata 0.4 reads any HDF5 file
        raise ValueError(f"{path} cannot be read as .h5mu: it has no modality.")
    return mdata


def _inputs(one: Path | None, rna: Path | None, atac: Path | None) -> list[Path]:
    """Get the file that has both modalities, or the two that have one each."""
    if (one is None) == (rna is None and atac is None) or (rna is None) != (atac is None):
        raise ValueError("Pass either INPUT, with both modalities, or --rna and --atac.")
    return [path for path in (one, rna, atac) if path is not None]


def _read_all(paths: list[Path], rna_mod: str, atac_mod: str) -> MuData:
    if len(paths) == 1 and not (paths[0].is_dir() or paths[0].suffix == ".h5"):
        return _read(paths[0])
    from scdart import pp

    return pp.from_files(*paths, rna_mod=rna_mod, atac_mod=atac_mod)


def _store(inputs: list[Path], memory: str | None) -> Path | None:
    """Get the file or store whose counts stay on disk; ``None`` where they are read into memory."""
    if is_zarr(inputs[0]):
        return inputs[0]
    if memory is None:
        return None
    if len(inputs) > 1 or inputs[0].suffix != ".h5mu":
        raise ValueError(
            f"--memory {memory} is about counts that can stay on disk, and {inputs[0]} is read as a whole: pass one "
            ".h5mu, which mdata.write makes, or a zarr store."
        )
    return inputs[0]


def _room(memory: str | None) -> AbstractContextManager[None]:
    """Let what is read of counts, and what is made of it, fit into some memory beside libraries."""
    if memory is None:
        return nullcontext()
    left = bytes_of(memory, "--memory") - _OWN_MEMORY
    if left <= 0:
        raise ValueError(
            f"--memory {memory} is too little: the libraries alone take {_OWN_MEMORY / 2**30:.1f} GiB. Pass at least "
            "2GB, and more for many cells."
        )
    from scdart._chunks import room_for

    return room_for(int(left * _SHARE_OF_COUNTS))


def _open(path: Path) -> MuData:
    from scdart import pp

    return pp.from_store(path)


def _check_output(path: Path, inputs: list[Path]) -> None:
    if is_zarr(inputs[0]):
        if path.suffix != ".zarr" or path.exists():
            raise ValueError(
                f"--output {path} must be a new folder that ends with .zarr, as the input is a zarr store."
            )
    elif path.suffix != ".h5mu":
        raise ValueError(f"--output {path} must end with .h5mu.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"--output {path}: the folder {path.parent} does not exist.")
    if path.exists() and any(each.exists() and path.samefile(each) for each in inputs):
        raise ValueError(f"--output {path} is the input: choose another name.")


def _describe(mdata: MuData, rna_mod: str, atac_mod: str, stages: Stages) -> dict[str, str]:
    """Say what was integrated and what it cost."""
    rna, atac = mdata[rna_mod], mdata[atac_mod]
    seconds = ", ".join(f"{stage} {value:.0f} s" for stage, value in stages.seconds.items())
    described = {
        "cells": f"{rna.n_obs:,} RNA, {atac.n_obs:,} ATAC",
        "features": f"{rna.n_vars:,} genes, {atac.n_vars:,} peaks, {atac.varm[GENE_ACTIVITY].nnz:,} links",
        "latent space": f'{mdata.obsm[X_SCDART].shape[1]} dimensions, obsm["{X_SCDART}"]',
        "time": seconds,
    }
    memory = peak_memory()
    return described if memory is None else described | {"peak memory": f"{memory / 2**30:.1f} GiB"}


def _evaluate(mdata: MuData, rna_mod: str, atac_mod: str, label_key: str | None) -> dict[str, str]:
    """Score the latent space by the cells that both modalities have, and by labels."""
    import numpy as np

    from scdart import metrics

    rna, atac = mdata[rna_mod], mdata[atac_mod]
    scores = {}
    shared = rna.obs_names.intersection(atac.obs_names)
    if len(shared) > 1:
        scored = shared[np.sort(np.random.default_rng(0).permutation(len(shared))[:_MAX_SCORED])]
        foscttm = metrics.foscttm(*(adata[scored].obsm[X_SCDART] for adata in (rna, atac)))
        scores["FOSCTTM"] = (
            f"{foscttm:.3f} over {len(scored):,} cells found in both modalities (0 perfect, 0.5 random). "
            + (
                "Training used the anchors of the input"
                if mdata.uns["scdart"]["anchors"] == "given"
                else "Their pairing was not used in training: rows of RNA and ATAC were treated as unpaired"
            )
        )
    if label_key is not None:
        known_rna, known_atac = (adata[adata.obs[label_key].notna()] for adata in (rna, atac))
        transfer = metrics.label_transfer(
            known_rna.obsm[X_SCDART],
            known_rna.obs[label_key],
            known_atac.obsm[X_SCDART],
            known_atac.obs[label_key],
        )
        scores["label transfer"] = (
            f"{transfer.accuracy:.3f} of ATAC cells get their own {label_key} from RNA cells "
            f"({transfer.balanced_accuracy:.3f} averaged over classes)"
        )
    return scores
