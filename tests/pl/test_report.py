"""The report: what it says, that it holds together, and that a browser can use it."""

from __future__ import annotations

import ast
import json
import re
import sys
import time
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
import scvi

from scdart import metrics, pl, pp, tl
from scdart.model import SCDART
from scdart.pl._diagnostics import diagnose
from scdart.pl._signs import Diagnostic, Inputs, answers

if TYPE_CHECKING:
    from pathlib import Path

    from mudata import MuData
    from selenium.webdriver import Chrome

NASTY = "</script><i>T&B"


class Page(HTMLParser):
    """Texts of the elements that have an id, rows of tables, and every address."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.texts: dict[str, str] = {}
        self.rows: list[list[str]] = []
        self.addresses: list[str] = []
        self.options: list[str] = []
        self.page = path.read_text()
        self._id, self._tag = "", ""
        self.feed(self.page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self._tag, self._id = tag, found.get("id", "") or ""
        self.addresses += [value for name, value in attrs if name in ("src", "href", "action", "data") and value]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "option":
            self.options.append("")

    def handle_data(self, data: str) -> None:
        if self._id:
            self.texts[self._id] = self.texts.get(self._id, "") + data
        if self._tag in ("td", "th"):
            self.rows[-1][-1] += data
        if self._tag == "option":
            self.options[-1] += data.strip()

    def handle_endtag(self, tag: str) -> None:
        self._tag = self._id = ""

    def row(self, name: str) -> list[str]:
        (found,) = [row for row in self.rows if row and row[0].strip() == name]
        return [text.strip() for text in found[1:]]


@pytest.fixture(scope="module")
def trained(simulated_module) -> tuple[MuData, SCDART]:
    mdata = simulated_module
    scvi.settings.seed = 0
    pp.diffusion_coordinates(mdata)
    SCDART.setup_mudata(mdata)
    model = SCDART(mdata, n_latent=5)
    model.train(max_epochs=20, enable_progress_bar=False)
    for mod in ("rna", "atac"):
        mdata[mod].obsm["X_scdart"] = model.get_latent_representation(modality=mod)
        mdata[mod].obs["dpt_pseudotime"] = mdata[mod].obs["pseudotime"]
        mdata[mod].obs["label"] = pd.Categorical(np.where(mdata[mod].obs["pseudotime"] < 0.5, "early", NASTY))
    mdata["atac"].obs.loc[mdata["atac"].obs_names[:2], "dpt_pseudotime"] = np.inf
    return mdata, model


@pytest.fixture(scope="module")
def simulated_module(simulated) -> MuData:
    return simulated["unpaired"].copy()


@pytest.fixture(scope="module")
def path(trained, tmp_path_factory) -> Path:
    return pl.report(*trained, tmp_path_factory.mktemp("report") / "report.html")


@pytest.fixture(scope="module")
def page(path) -> Page:
    return Page(path)


def test_page_says_what_the_data_are(page, trained):
    mdata = trained[0]
    assert page.row("Cells") == ["80", "50"]
    assert page.row("Features") == ["60", "150"]
    counts = mdata["rna"].X
    assert page.row("Median counts of a cell")[0] == f"{np.median(counts.sum(axis=1).A1):,.0f}"
    assert page.row("Entries that are not zero")[0] == f"{counts.nnz / (80 * 60):.1%}"
    assert page.row("Links of the prior") == [f"{mdata['atac'].varm['gene_activity'].nnz:,}"]
    assert page.row("Known pairs of cells") == ["0"]


def test_diagnostics_are_the_metrics(page, trained):
    mdata = trained[0]
    z = {mod: mdata[mod].obsm["X_scdart"] for mod in ("rna", "atac")}
    for mod in z:
        expected = metrics.diffusion_distance_correlation(
            z[mod],
            mdata[mod].obsm["X_diffusion_coordinates"],
            n_blocks=len(mdata[mod].uns["diffusion_coordinates"]["t"]),
        )
        assert page.row(f"Trajectory preserved, {mod.upper()}")[0] == f"{expected:.2f}"
    described = mdata.uns["anchors"]
    assert page.row("Agreement of anchors")[0].startswith(f"{described['agreement'][described['variant']]:.3f} (z = ")
    anchors = mdata.obsp["anchors"][:80, 80:].toarray()
    best = anchors.argmax(axis=0)
    near = np.median(np.linalg.norm(z["rna"][best] - z["atac"], axis=1))
    far = np.median(np.linalg.norm(z["rna"][:, None] - z["atac"], axis=2))
    assert float(page.row("Distance of anchored cells")[0]) == pytest.approx(near / far, rel=0.25)
    low = np.mean(trained[1].get_alignment_confidence(modality="rna") < 0.7)
    assert page.row("Low alignment confidence, RNA")[0] == f"{low:.0%}"
    assert page.row("Cells without a path to the root")[0] == "2"
    assert "2 cells are not connected with the root" in page.page


def test_cells_that_pseudotime_did_not_reach_are_counted(mdata):
    latent = {mod: np.random.default_rng(0).normal(size=(mdata[mod].n_obs, 2)) for mod in ("rna", "atac")}
    latent["atac"][:20] += 1000  # nearer to each other than to any other
    mdata.obsm["X_scdart"] = np.concatenate(list(latent.values()))
    root = mdata.obs_names[0]
    with pytest.warns(UserWarning, match="20 of 130 cells are not connected"):
        tl.pseudotime(mdata, root=root, n_neighbors=15)
    inputs = Inputs(mdata, latent, {"rna": "rna", "atac": "atac"}, None, "X_scdart", "dpt_pseudotime", {}, {}, 0)
    found = {sign.name: sign for sign in diagnose(inputs)}["Cells without a path to the root"]
    assert (found.value, found.verdict) == ("20", "look")


def test_what_is_of_another_run_is_said(trained, page, simulated):
    assert page.row("Data, model and results of one run")[0] == "yes"
    mdata, model = trained[0].copy(), trained[1]

    def said(mdata):
        latent = {mod: mdata[mod].obsm["X_scdart"] for mod in ("rna", "atac")}
        mods = {"rna": "rna", "atac": "atac"}
        inputs = Inputs(mdata, latent, mods, model, "X_scdart", "dpt_pseudotime", {}, {}, 0)
        return next(sign for sign in diagnose(inputs) if sign.name.startswith("Data, model"))

    assert said(mdata[mdata.obs_names[::2].sort_values()].copy()).value == "yes"
    mdata["atac"].X = mdata["atac"].X[::-1].copy()
    assert "mdata.mod['atac'].X does not hold the counts" in said(mdata).warning
    other = trained[0].copy()
    other["rna"].obsm["X_scdart"] = other["rna"].obsm["X_scdart"] + 1
    assert "mdata.mod['rna'].obsm['X_scdart'] are not positions that this model gives" in said(other).warning


def test_moves_between_trainings_are_shown_if_they_are_of_this_latent_space(trained, page):
    assert page.row("Moves between trainings, RNA")[0] == "not computed"
    mdata = trained[0].copy()
    z = {mod: adata.obsm["X_scdart"] for mod, adata in mdata.mod.items()}
    mdata.obsm["X_scdart"] = np.concatenate(list(z.values()))

    def said():
        inputs = Inputs(mdata, z, {"rna": "rna", "atac": "atac"}, None, "X_scdart", None, {}, {}, 0)
        return {sign.name: sign for sign in diagnose(inputs)}["Moves between trainings, ATAC"]

    tl.spread(mdata, [trained[1]])
    assert (said().value, said().verdict) == ("0.00", "fine")
    mdata["atac"].obsm["X_scdart_spread"][:] = 0.8
    assert (said().value, said().verdict) == ("0.80", "look")
    mdata.obsm["X_scdart"] = mdata.obsm["X_scdart"][::-1].copy()
    assert "before mdata.obsm['X_scdart'] was made anew" in said().warning


def test_first_screen_answers_whether_it_can_be_trusted(page, trained):
    mdata, model = trained
    start, data = page.page.index("Can this be trusted?"), page.page.index("Data and prior")
    assert start < data
    first = " ".join(page.page[start:data].split())
    for question in ("Do the modalities lie together?", "Has every cell a counterpart?", "Was it trained long enough?"):
        assert question in first
    doubtful = first.count('class="answer look"')
    assert doubtful
    assert f"Look closer: {doubtful} of {first.count('<h3>')} questions raise doubt." in first
    assert 'class="answer look"' not in first[first.index('class="answer fine"') :]  # doubts come first
    mean = np.concatenate([model.get_alignment_confidence(modality=mod) for mod in ("rna", "atac")]).mean()
    assert f"<strong>{mean:.2f}</strong>" in first


def test_epochs_stand_beside_what_is_usual(page, trained):
    usual = trained[1].train_settings_[0]["usual_epochs"]
    assert usual > 100
    assert page.row("Epochs")[0] == f"20 (usual: {usual})"
    assert f"trained for 20 epochs, where {usual} are usual" in page.page


def test_answers_are_those_of_their_signs():
    said = [
        Diagnostic("a", "1", "", "fine", question="Q"),
        Diagnostic("b", "2", "", "look", "careful", question="Q"),
        Diagnostic("c", "not computed", "", "unknown", question="R"),
    ]
    assert [(answer.question, answer.verdict, len(answer.signs)) for answer in answers(said)] == [
        ("Q", "look", 2),
        ("R", "unknown", 1),
    ]


def test_colorings_are_found_and_belong_to_the_cells(page, trained):
    assert page.options == [
        "modality",
        "branch",
        "pseudotime",
        "dpt_pseudotime",
        "label",
        "anchors_confidence",
        "alignment confidence",
    ]
    colorings = {coloring["name"]: coloring for coloring in json.loads(page.texts["colorings"])}
    legend = colorings["modality"]["legend"]
    assert [(entry["name"], entry["n"]) for entry in legend] == [("rna", 80), ("atac", 50)]
    assert list(np.bincount(colorings["modality"]["color"])) == [80, 50]
    assert colorings["pseudotime"]["legend"] is None
    times = np.concatenate([trained[0][mod].obs["pseudotime"] for mod in ("rna", "atac")])
    np.testing.assert_allclose(np.sort(colorings["pseudotime"]["color"]), np.sort(times), rtol=1e-4)
    unreached = np.array(colorings["dpt_pseudotime"]["color"])
    assert np.sum(np.isclose(unreached, colorings["dpt_pseudotime"]["cmin"], rtol=1e-3)) == 2
    assert colorings["dpt_pseudotime"]["colorscale"][0][1] == colorings["dpt_pseudotime"]["colorscale"][1][1]


def test_code_and_settings_repeat_the_run(page, trained, simulated):
    tree = ast.parse(page.texts["code"])
    called = [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert called[-1] == "scdart.tl.embed"
    assert "scdart.model.SCDART.setup_mudata" in called
    settings = json.loads(page.texts["settings"])
    assert settings["train"] == [
        {**settings["train"][0], "seed": 0, "max_epochs": 20, "batch_size": 128, "train_size": 1.0}
    ]
    assert settings["model"]["n_latent"] == 5
    assert settings["diffusion_coordinates"]["rna"]["t"] == list(trained[0]["rna"].uns["diffusion_coordinates"]["t"])
    assert settings["anchors"]["params"]["n_neighbors"] == 30

    code = page.texts["code"].replace('mudata.read_h5mu("input.h5mu")', "given")
    code = re.sub(r"scdart\.pp\.gene_activity\(.*?\)\n", "", code)
    namespace = {"given": simulated["unpaired"].copy()}
    exec(code, namespace)
    repeated = namespace["mdata"].obsm["X_scdart"]
    np.testing.assert_allclose(repeated[:80], trained[0]["rna"].obsm["X_scdart"], atol=1e-4)


@pytest.fixture(scope="module")
def of_donors(simulated) -> tuple[MuData, SCDART]:
    """RNA of two donors, whose names are numbers, and ATAC of a third, with a model that has hardly been trained."""
    mdata = simulated["unpaired"].copy()
    scvi.settings.seed = 0
    mdata["rna"].obs["donor"] = np.where(np.arange(80) < 30, 1, 2)
    mdata["atac"].obs["donor"] = 3
    pp.diffusion_coordinates(mdata, t=(0, 5), batch_key="donor")
    pp.anchors(mdata, batch_key="donor")
    SCDART.setup_mudata(mdata, batch_key="donor")
    model = SCDART(mdata, n_latent=5)
    model.train(max_epochs=1, enable_progress_bar=False)
    return mdata, model


def test_batches_are_counted_and_drawn_and_their_mixing_is_told(of_donors, tmp_path):
    mdata, model = of_donors
    page = Page(pl.report(mdata, model, tmp_path / "report.html"))
    matched = mdata["rna"].uns["batch_factors"]["matched"]
    assert page.row("1") == ["RNA", "30", f"{matched['1']:.0%}"]
    assert page.row("2") == ["RNA", "50", f"{matched['2']:.0%}"]
    expected = metrics.batch_mixing(mdata["rna"].obsm["X_scdart"], mdata["rna"].obs["donor"])
    assert page.row("Mixing of the batches, RNA")[0] == f"{expected:.2f}"
    assert not [row for row in page.rows if row[0] == "Mixing of the batches, ATAC"]
    assert page.options[:2] == ["modality", "donor"]
    coloring = json.loads(page.texts["colorings"])[1]
    assert [entry["name"] for entry in coloring["legend"]] == ["1", "2", "3"]
    assert list(np.bincount(coloring["color"])) == [30, 50, 50]


def test_code_repeats_a_run_with_batches(of_donors, simulated, tmp_path):
    mdata, model = of_donors
    code = Page(pl.report(mdata, model, tmp_path / "report.html")).texts["code"]
    assert code.count("batch_key='donor'") == 3
    given = simulated["unpaired"].copy()
    for mod in ("rna", "atac"):
        given[mod].obs["donor"] = mdata[mod].obs["donor"]
    code = re.sub(r"scdart\.pp\.gene_activity\(.*?\)\n", "", code.replace('mudata.read_h5mu("input.h5mu")', "given"))
    exec(code, {"given": given})
    np.testing.assert_array_equal(given["rna"].varm["batch_factors"], mdata["rna"].varm["batch_factors"])
    np.testing.assert_allclose(given.obsm["X_scdart"], model.get_latent_representation(), atol=1e-4)


def test_separated_batches_are_warned_about(of_donors, tmp_path):
    mdata = of_donors[0].copy()
    mdata["rna"].obsm["X_scdart"][:30] += 100.0
    page = Page(pl.report(mdata, path=tmp_path / "report.html"))
    assert page.row("Mixing of the batches, RNA")[0] == "0.03"  # of 30 neighbours, a donor of 30 cells has 29
    assert "The batches of RNA cells hardly mix" in page.page
    del mdata["rna"].uns["batch_factors"]  # as of an integration that knows no batches
    page = Page(pl.report(mdata, path=tmp_path / "report.html"))
    assert not [row for row in page.rows if row and row[0].startswith("Mixing of the batches")]
    assert "donor" not in page.options


def test_nothing_is_fetched(page):
    assert [address for address in page.addresses if not address.startswith(("data:", "#"))] == []
    assert "default-src 'none'" in page.page


def test_names_of_the_user_are_not_markup(page):
    assert NASTY not in page.page
    assert page.page.count("</script>") == page.page.count("<script")


def test_mdata_is_left_as_it_was(trained, unchanged, tmp_path):
    check = unchanged(trained[0])
    pl.report(*trained, tmp_path / "again.html")
    check()


def test_without_model_and_anchors(mdata, tmp_path):
    page = Page(pl.report(mdata, path=tmp_path / "report.html", color=["branch"], title="A & B"))
    assert page.options == ["branch"]
    assert page.row("Trajectory preserved, RNA")[0] == "not computed"
    assert page.row("Agreement of anchors")[0] == "not computed"
    assert "Losses" not in page.page
    assert "A &amp; B" in page.page


def test_separated_modalities_are_warned_about(mdata, tmp_path):
    mdata["atac"].obsm["X_scdart"] += 100.0
    page = Page(pl.report(mdata, path=tmp_path / "report.html"))
    assert page.row("Mixing of the modalities (iLISI)")[0] == "0.00"
    assert "The modalities hardly mix" in page.page


def test_many_cells_are_sampled(mdata, tmp_path):
    page = Page(pl.report(mdata, path=tmp_path / "report.html", max_cells=40))
    assert "40 of 130 cells." in page.page
    assert all(len(coloring["color"]) == 40 for coloring in json.loads(page.texts["colorings"]))


def test_paired_cells_need_a_latent_space_for_each_measurement(paired, tmp_path):
    page = Page(pl.report(paired, path=tmp_path / "report.html"))
    assert "140 measurements of 70 cells." in page.page
    del paired["rna"].obsm["X_scdart"]
    with pytest.raises(KeyError, match="one position for a cell that is in both"):
        pl.report(paired, path=tmp_path / "report.html")


def test_missing_optional_packages_are_explained(mdata, tmp_path, monkeypatch):
    for module in ("jinja2", "plotly.offline"):
        with monkeypatch.context() as context:
            context.setitem(sys.modules, module, None)
            with pytest.raises(ImportError, match="pip install jinja2 plotly"):
                pl.report(mdata, path=tmp_path / "report.html")
    monkeypatch.setitem(sys.modules, "scib_metrics.nearest_neighbors", None)
    page = Page(pl.report(mdata, path=tmp_path / "report.html"))
    assert page.row("Mixing of the modalities (iLISI)")[0] == "not computed"


def test_bad_input(mdata, tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        pl.report(mdata, path=tmp_path / "nowhere" / "report.html")
    with pytest.raises(ValueError, match="max_cells=0"):
        pl.report(mdata, path=tmp_path / "report.html", max_cells=0)
    with pytest.raises(KeyError, match="rna_mod='gex'"):
        pl.report(mdata, path=tmp_path / "report.html", rna_mod="gex")
    with pytest.raises(ValueError, match="train it first"):
        pl.report(
            mdata,
            SimpleNamespace(history=None, is_trained_=False, registry={"setup_args": {}}),
            tmp_path / "report.html",
        )
    assert list(tmp_path.iterdir()) == []


def opened(browser: Chrome, path: Path) -> None:
    """Load a page, and wait until the colours are there."""
    browser.get(path.as_uri())
    script = "return document.querySelectorAll('#latent .point, #latent canvas').length"
    end = time.monotonic() + 20
    while not browser.execute_script(script) and time.monotonic() < end:
        time.sleep(0.1)


def fills(browser: Chrome) -> list[str]:
    return browser.execute_script(
        "return [...document.querySelectorAll('#latent .point')].map(point => getComputedStyle(point).fill)"
    )


@pytest.mark.browser
def test_page_loads_without_errors_or_requests(browser, path):
    opened(browser, path)
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    requested = [
        message["params"]["request"]["url"] for message in messages if message["method"] == "Network.requestWillBeSent"
    ]
    assert path.as_uri() in requested
    assert [url for url in requested if not url.startswith(("file:", "data:", "blob:"))] == []
    assert len(fills(browser)) == 130


@pytest.mark.browser
def test_coloring_can_be_switched(browser, path):
    from selenium.webdriver.support.ui import Select

    opened(browser, path)
    by_modality = pd.Series(fills(browser)).value_counts()
    assert dict(by_modality) == {"rgb(0, 114, 178)": 80, "rgb(230, 159, 0)": 50}
    choice = Select(browser.find_element("id", "coloring"))
    choice.select_by_visible_text("pseudotime")
    assert len(set(fills(browser))) > 50
    choice.select_by_visible_text("label")
    assert len(set(fills(browser))) == 2
    assert browser.find_elements("css selector", "#latent .cbaxis") == []
    entries = [entry.text for entry in browser.find_elements("css selector", "#legend li")]
    assert [entry.rsplit(maxsplit=1)[0] for entry in entries] == [NASTY, "early"]
    assert sum(int(entry.rsplit(maxsplit=1)[1]) for entry in entries) == 130


@pytest.mark.browser
def test_page_fits_a_telephone(browser, path):
    size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        opened(browser, path)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
        widths = "return [...document.querySelectorAll('.losses .main-svg')].map(svg => svg.clientWidth)"
        assert min(browser.execute_script(widths)) > 300  # one below the other
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.browser
def test_pointing_at_a_cell_names_it(browser, path, trained):
    from selenium.webdriver.common.action_chains import ActionChains

    opened(browser, path)
    point = browser.find_elements("css selector", "#latent .point")[-1]
    ActionChains(browser).move_to_element(point).perform()
    end = time.monotonic() + 10
    while not (texts := browser.find_elements("css selector", "#latent .hovertext")) and time.monotonic() < end:
        time.sleep(0.1)
    said = texts[0].text
    mdata = trained[0]
    cell = said.split("modality")[0].strip()
    mod = "rna" if cell in mdata["rna"].obs_names else "atac"
    assert f"modality: {mod}" in said
    assert f"pseudotime: {mdata[mod].obs.loc[cell, 'pseudotime']:.3g}" in said


@pytest.mark.browser
def test_many_cells_are_drawn_by_the_graphics_card(browser, mdata, tmp_path, monkeypatch):
    monkeypatch.setattr("scdart.pl._interactive._MAX_SVG", 100)
    browser.get_log("browser")
    opened(browser, pl.report(mdata, path=tmp_path / "report.html"))
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    assert browser.execute_script("return document.getElementById('latent').data[0].type") == "scattergl"
    assert browser.execute_script("return document.getElementById('latent').data[0].marker.color.length") == 130
