from __future__ import annotations

import logging
import subprocess
import sys
import warnings
from importlib.metadata import version
from typing import TYPE_CHECKING

import h5py
import mudata
import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread
from typer.testing import CliRunner

from scdart import _chunks, _demo, metrics, tl
from scdart.cli import app
from scdart.datasets import simulate
from scdart.model import PRESETS, SCDART
from scdart.pp import diffusion_coordinates, from_store

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result


@pytest.fixture(scope="module")
def paired_file(tmp_path_factory) -> Path:
    """Cells that are in both modalities."""
    mdata = simulate("bifurcating", n_cells=60, n_genes=60, n_peaks=150, paired=True)
    path = tmp_path_factory.mktemp("paired") / "paired.h5mu"
    mdata.write(path)
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "300"})


def integrate(input_path: Path, output: Path, *options: object) -> Result:
    return run("integrate", input_path, "--output", output, "--max-epochs", 1, *options)


def test_help_comes_without_heavy_imports():
    code = "import sys, scdart.cli; print(*sorted({'torch', 'scvi', 'scanpy', 'mudata', 'pandas'} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == ""
    assert all(command in run("--help").stdout for command in ("demo", "integrate", "report"))
    assert "--annotation" in run("integrate", "--help").stdout
    assert run("--version").stdout == f"scdart {version('scdart')}\n"


def test_presets_are_those_of_the_model():
    from scdart.cli import Preset

    assert {preset.value for preset in Preset} == set(PRESETS)


def test_integrate_writes_what_the_function_does(paired_file, tmp_path):
    result = integrate(paired_file, tmp_path / "out.h5mu", "--n-latent", 3, "--t", 2, "--t", 4, "--seed", 5)
    assert result.exit_code == 0, result.output
    written, expected = mudata.read_h5mu(tmp_path / "out.h5mu"), mudata.read_h5mu(paired_file)
    tl.integrate(
        expected, n_latent=3, t=(2, 4), random_state=5, max_epochs=1, train_kwargs={"enable_progress_bar": False}
    )
    np.testing.assert_array_equal(written.obsm["X_scdart"], expected.obsm["X_scdart"])
    for mod in ("rna", "atac"):
        np.testing.assert_array_equal(written[mod].obsm["X_scdart"], expected[mod].obsm["X_scdart"])
        assert (written[mod].X != expected[mod].X).nnz == 0

    links = expected["atac"].varm["gene_activity"].nnz
    assert "60 RNA, 60 ATAC" in result.stdout
    assert f"60 genes, 150 peaks, {links} links" in result.stdout
    assert all(stage in result.stdout for stage in ("diffusion coordinates", "anchors", "training", "peak memory"))
    foscttm = metrics.foscttm(*(expected[mod].obsm["X_scdart"] for mod in ("rna", "atac")))
    assert f"{foscttm:.3f} over 60 cells" in result.stdout
    assert "not used in training" in result.stdout
    assert "label transfer" not in result.stdout
    assert "Agreement of held-out genes" in result.stderr


def test_integrate_scores_labels(paired_file, tmp_path):
    mdata = mudata.read_h5mu(paired_file)
    mdata["rna"].obs["type"] = mdata["rna"].obs["branch"].astype(object).where(np.arange(60) > 3)
    mdata["atac"].obs["type"] = mdata["atac"].obs["branch"]
    mdata.write(tmp_path / "in.h5mu")
    result = integrate(tmp_path / "in.h5mu", tmp_path / "out.h5mu", "--label-key", "type")
    assert result.exit_code == 0, result.output
    out = mudata.read_h5mu(tmp_path / "out.h5mu")
    z = {mod: out[mod].obsm["X_scdart"] for mod in ("rna", "atac")}
    labels = {mod: out[mod].obs["type"] for mod in z}
    known = labels["rna"].notna().to_numpy()
    expected = metrics.label_transfer(z["rna"][known], labels["rna"][known], z["atac"], labels["atac"])
    assert f"{expected.accuracy:.3f} of ATAC cells" in result.stdout
    assert f"{expected.balanced_accuracy:.3f} averaged over classes" in result.stdout


def test_integrate_says_when_known_pairs_were_used(paired_file, tmp_path):
    from scdart.pp import anchors

    mdata = mudata.read_h5mu(paired_file)
    anchors(mdata, pairs="obs_names")
    mdata.write(tmp_path / "in.h5mu")
    result = integrate(tmp_path / "in.h5mu", tmp_path / "out.h5mu")
    assert "used the anchors of the input" in result.stdout
    assert "not used in training" not in result.stdout


def test_integrate_with_annotation_other_names_and_layers(tmp_path):
    mdata = simulate("linear", n_cells=(40, 50), n_genes=60, n_peaks=150, link_kind="genomic")
    genes = mdata["rna"].var.assign(name=mdata["rna"].var_names, score=0)
    genes[["chrom", "start", "end", "name", "score", "strand"]].to_csv(
        tmp_path / "genes.bed.gz", sep="\t", header=False, index=False
    )
    prior = mdata["atac"].varm["gene_activity"].copy()
    del mdata["atac"].varm["gene_activity"], mdata["atac"].uns["gene_activity"]
    for adata in mdata.mod.values():
        adata.layers["raw"] = adata.X
        adata.X = adata.X * np.nan
        adata.obs["root"] = np.where(adata.obs["pseudotime"] < 0.3, "root", None)
    mudata.MuData({"GEX": mdata["rna"], "peaks": mdata["atac"]}).write(tmp_path / "in.h5mu")
    names = ["--rna-mod", "GEX", "--atac-mod", "peaks", "--rna-layer", "raw", "--atac-layer", "raw"]
    options = ["--annotation", tmp_path / "genes.bed.gz", "--groups-key", "root", "--preset", "paper"]
    result = integrate(tmp_path / "in.h5mu", tmp_path / "out.h5mu", *names, *options)
    assert result.exit_code == 0, result.output
    out = mudata.read_h5mu(tmp_path / "out.h5mu")
    assert (out["peaks"].varm["gene_activity"] != prior).nnz == 0
    assert out.uns["scdart"]["preset"] == "paper"
    assert out.obsm["X_scdart"].shape == (90, 8)
    assert "gene activity" in result.stdout
    assert "FOSCTTM" not in result.stdout


def test_integrate_reads_two_files(paired_file, tmp_path):
    """Their cells are different ones, although they have the same names."""
    mdata = mudata.read_h5mu(paired_file)
    for mod in mdata.mod:
        mdata[mod].write(tmp_path / f"{mod}.h5ad")
    files = ["--rna", tmp_path / "rna.h5ad", "--atac", tmp_path / "atac.h5ad"]
    result = run("integrate", *files, "--output", tmp_path / "out.h5mu", "--max-epochs", 1)
    assert result.exit_code == 0, result.output
    out = mudata.read_h5mu(tmp_path / "out.h5mu")
    assert out.obsm["X_scdart"].shape[0] == out["rna"].n_obs + out["atac"].n_obs
    assert "rna.h5ad, atac.h5ad -> " in result.stdout
    wrong = run("integrate", *files, "--output", tmp_path / "other.h5mu", "--memory", "8GB")
    check_error(wrong, "rna.h5ad is read as a whole")
    for inputs in ([], files[:2], [paired_file, *files]):
        wrong = run("integrate", *inputs, "--output", tmp_path / "other.h5mu")
        check_error(wrong, "Pass either INPUT, with both modalities, or --rna and --atac")


@pytest.mark.parametrize("suffix", [".h5mu", ".zarr"])
def test_integrate_leaves_counts_on_disk(paired_file, tmp_path, suffix):
    source = paired_file
    if suffix == ".zarr":
        source = tmp_path / "counts.zarr"
        # mudata 0.4 cannot write the axis that it has read.
        mudata.MuData(dict(mudata.read_h5mu(paired_file).mod)).write_zarr(source)
    memory = ["--memory", "4 GB"] if suffix == ".h5mu" else []
    result = integrate(source, tmp_path / f"out{suffix}", *memory)
    assert result.exit_code == 0, result.output
    written, expected = from_store(tmp_path / f"out{suffix}"), mudata.read_h5mu(paired_file)
    tl.integrate(expected, random_state=0, max_epochs=1, train_kwargs={"enable_progress_bar": False})
    np.testing.assert_array_equal(written.obsm["X_scdart"], expected.obsm["X_scdart"])
    assert written.uns["scdart"]["anchors"] == "inferred"
    for mod in ("rna", "atac"):
        np.testing.assert_array_equal(written[mod].obsm["X_anchors"], expected[mod].obsm["X_anchors"])
        assert (written[mod].X[:] != expected[mod].X).nnz == 0
    assert "X_scdart" not in from_store(source).obsm
    if suffix == ".zarr":
        check_error(integrate(source, tmp_path / "out.zarr"), "must be a new folder")
        check_error(integrate(source, tmp_path / "out.h5mu"), "ends with .zarr")
    assert sorted(path.name for path in tmp_path.iterdir() if path != source) == [f"out{suffix}"]


def test_memory_bounds_what_is_held(paired_file, tmp_path, monkeypatch):
    held = []

    def watched(*_, **__):
        held.append(_chunks._room.get())
        raise ValueError("enough")

    monkeypatch.setattr(tl, "integrate", watched)
    for memory in ("2.5GB", "8g"):
        check_error(integrate(paired_file, tmp_path / "out.h5mu", "--memory", memory), "enough")
    assert held == [2**27, 13 * 2**26]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--memory", "much"], "--memory much is no size"),
        (["--memory", "1.2.3GB"], "is no size"),
        (["--memory", "500MB"], "--memory 500MB is too little"),
        (["--rna-mod", "gex"], "rna_mod='gex' is not a modality"),
        (["--rna-layer", "counts"], "layers"),
        (["--label-key", "type"], "no column 'type'"),
        (["--groups-key", "root"], "no column 'root'"),
        (["--annotation", "no_such_genes.gtf"], "no_such_genes.gtf"),
        (["--t=-1"], "t=[-1]"),
    ],
)
def test_bad_options_end_in_one_line(paired_file, tmp_path, options, message):
    check_error(integrate(paired_file, tmp_path / "out.h5mu", *options), message)
    assert not list(tmp_path.iterdir())


def test_bad_files_end_in_one_line(paired_file, tmp_path):
    (tmp_path / "text.h5mu").write_text("no HDF5")
    with h5py.File(tmp_path / "other.h5mu", "w") as other:
        other["data"] = np.arange(3)
    pd.DataFrame({"a": [1]}).to_csv(tmp_path / "genes.csv")
    mudata.read_h5mu(paired_file)["rna"].write(tmp_path / "rna.h5ad")
    for name, message in {
        "missing.h5mu": "does not exist",
        "text.h5mu": "cannot be read as .h5mu",
        "other.h5mu": "cannot be read as .h5mu",
        "rna.h5ad": "cannot be read as .h5mu",
    }.items():
        check_error(integrate(tmp_path / name, tmp_path / "out.h5mu"), message)
    check_error(integrate(paired_file, tmp_path / "out.h5ad"), "must end with .h5mu")
    check_error(integrate(paired_file, tmp_path / "none" / "out.h5mu"), "does not exist")
    check_error(integrate(paired_file, paired_file), "is the input")
    assert not (tmp_path / "out.h5mu").exists()


def check_error(result: Result, message: str) -> None:
    assert result.exit_code == 1
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert message in line
    assert result.stderr.splitlines()[-1] == line
    assert "Traceback" not in result.output


def test_gene_scores_in_place_of_peaks(paired_file, tmp_path):
    mdata = mudata.read_h5mu(paired_file)
    mdata["rna"].write(tmp_path / "rna.h5ad")
    scores = mdata["rna"].copy()
    scores.X = (scores.X > 1).astype(np.float32)
    scores.write(tmp_path / "scores.h5ad")
    files = ("integrate", "--rna", tmp_path / "rna.h5ad", "--atac", tmp_path / "scores.h5ad")
    assert "if ATAC has gene scores in place of peaks" in run(*files, "--output", tmp_path / "out.h5mu").stderr
    result = run(*files, "--gene-scores", "--output", tmp_path / "out.h5mu", "--max-epochs", 1)
    assert result.exit_code == 0, result.output
    assert "60 genes, 60 peaks, 60 links" in result.stdout
    assert "not whole numbers" not in result.stderr
    genes = tmp_path / "genes.bed"
    genes.touch()
    both = run(*files, "--gene-scores", "--annotation", genes, "--output", tmp_path / "out.h5mu")
    assert "leave out one of them" in both.stderr


def test_verbose_shows_the_traceback(tmp_path):
    result = integrate(tmp_path / "missing.h5mu", tmp_path / "out.h5mu", "--verbose")
    assert result.exit_code == 1
    assert "Traceback" in result.stderr


def test_warnings_are_shown_as_lines_of_the_log(paired_file, tmp_path):
    mdata = mudata.read_h5mu(paired_file)
    mdata["rna"].X = mdata["rna"].X * 0.3
    mdata.write(tmp_path / "in.h5mu")
    result = integrate(tmp_path / "in.h5mu", tmp_path / "out.h5mu")
    assert "WARNING" in result.stderr
    assert "not whole numbers" in result.stderr
    assert ".py" not in result.stderr


def test_logging_and_warnings_are_left_as_they_were(tmp_path):
    def state():
        loggers = [logging.getLogger(name) for name in ("scdart", "scvi.data", "lightning.pytorch.utilities")]
        return [(logger.level, logger.propagate, list(logger.handlers)) for logger in loggers], warnings.showwarning

    before = state()
    integrate(tmp_path / "missing.h5mu", tmp_path / "out.h5mu")
    assert state() == before


def test_demo_cells_have_hidden_pairs():
    mdata = _demo.simulate_hidden_pairs(80, seed=1)
    rna, atac = mdata["rna"], mdata["atac"]
    assert mdata.n_obs == 160
    assert not set(rna.obs_names) & set(atac.obs_names)
    assert not np.array_equal(rna.obs["pair_id"], atac.obs["pair_id"])
    truth = [adata.obs.set_index("pair_id").sort_index()[["branch", "pseudotime"]] for adata in (rna, atac)]
    pd.testing.assert_frame_equal(*truth)
    for adata in (rna, atac):
        np.testing.assert_array_equal(mdata.obs["pseudotime"][adata.obs_names], adata.obs["pseudotime"])


def test_demo_scores_a_perfect_result_as_perfect():
    mdata = _demo.simulate_hidden_pairs(200, seed=0)
    for adata in (mdata["rna"], mdata["atac"], mdata):
        branch = (adata.obs["branch"] == "3_1").to_numpy() * 2.0 - 1
        time = adata.obs["pseudotime"].to_numpy(dtype=float)
        adata.obsm["X_scdart"] = np.column_stack([time * branch, 0.3 * time])
    noise = np.random.default_rng(0).normal(0, 0.03, (400, 2))
    mdata.obsm["X_scdart"] = mdata.obsm["X_scdart"] + noise
    _demo.order(mdata)
    expression = np.log1p(pd.DataFrame(mdata["atac"].obsm["true_expression"]))
    scores = _demo.score(mdata, expression)
    assert len(scores) == 6
    for score in scores:
        # The branches of the noisy order are not of the same length to diffusion pseudotime.
        assert score.value == pytest.approx(score.perfect, abs=0.15 if "Order" in score.what else 0.01), score.what
    assert scores[1].blind == pytest.approx(2 / 3, abs=0.01)

    scrambled = np.random.default_rng(0).permutation(200)
    mdata["rna"].obsm["X_scdart"] = mdata["rna"].obsm["X_scdart"][scrambled]
    for score in _demo.score(mdata, expression.iloc[scrambled])[::5]:
        assert score.value == pytest.approx(score.blind, abs=0.1), score.what


def test_demo(tmp_path, monkeypatch):
    train = _demo.SCDART.train
    monkeypatch.setattr(_demo.SCDART, "train", lambda model, **kwargs: train(model, max_epochs=2, **kwargs))
    result = run("demo", "--output-dir", tmp_path / "new", "--cells", 60, "--seed", 2)
    assert result.exit_code == 0, result.output
    for what in ("FOSCTTM", "Branch", "Order of all cells", "Order of RNA cells", "Order of ATAC cells", "Expression"):
        assert what in result.stdout
    written = mudata.read_h5mu(tmp_path / "new" / "scdart_demo.h5mu")
    assert written.n_obs == 120
    assert {"X_scdart", "X_umap"} <= set(written.obsm)
    assert {"modality", "pseudotime", "dpt_pseudotime"} <= set(written.obs)
    picture = imread(tmp_path / "new" / "scdart_demo.png")
    assert picture.shape[1] > 2 * picture.shape[0]
    assert picture[..., :3].std() > 0.02


@pytest.fixture(scope="module")
def trained_files(tmp_path_factory) -> tuple[Path, Path]:
    """An integrated file, and the model that it comes from."""
    folder = tmp_path_factory.mktemp("trained")
    mdata = simulate("bifurcating", n_cells=60, n_genes=60, n_peaks=150)
    diffusion_coordinates(mdata)
    SCDART.setup_mudata(mdata)
    model = SCDART(mdata)
    model.train(max_epochs=2)
    mdata.obsm["X_scdart"] = model.get_latent_representation()
    mdata.write(folder / "integrated.h5mu")
    model.save(str(folder / "model"))
    return folder / "integrated.h5mu", folder / "model"


def test_report_has_what_the_model_knows(trained_files, tmp_path):
    file, model = trained_files
    result = run("report", file, "--model", model, "--output", tmp_path / "page.html", "--color", "branch")
    assert result.exit_code == 0, result.output
    assert f"Written: {tmp_path / 'page.html'}" in result.stdout
    page = (tmp_path / "page.html").read_text()
    assert "integrated.h5mu" in page
    assert "Losses" in page
    assert "max_epochs=2" in page


def test_integration_keeps_its_model_for_the_report(paired_file, tmp_path):
    assert integrate(paired_file, tmp_path / "out.h5mu", "--save-model", tmp_path / "model").exit_code == 0
    result = run("report", tmp_path / "out.h5mu", "--model", tmp_path / "model", "--output", tmp_path / "page.html")
    assert result.exit_code == 0, result.output
    assert "Losses" in (tmp_path / "page.html").read_text()
    again = integrate(paired_file, tmp_path / "out.h5mu", "--save-model", tmp_path / "model")
    assert again.exit_code == 1
    assert "holds a model already" in again.stderr


def test_report_without_model(trained_files, tmp_path):
    result = run("report", trained_files[0], "--output", tmp_path / "page.html", "--title", "Mine", "--max-cells", 50)
    assert result.exit_code == 0, result.output
    page = (tmp_path / "page.html").read_text()
    assert "<h1>Mine</h1>" in page
    assert "50 of 120 cells." in page
    assert "<h2>Losses</h2>" not in page


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "nowhere"], "--model nowhere holds no model.pt"),
        (["--output", "page.txt"], "--output page.txt must end with .html"),
        (["--color", "colour"], "'colour' is neither"),
        (["--rna-mod", "gex"], "rna_mod='gex'"),
    ],
)
def test_report_explains_bad_input(trained_files, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    result = run("report", trained_files[0], *options)
    assert result.exit_code == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_report_names_what_is_missing(trained_files, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    result = run("report", trained_files[0], "--output", tmp_path / "page.html")
    assert result.exit_code == 1
    assert "pip install jinja2 plotly" in result.stderr
