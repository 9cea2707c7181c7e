"""The methods that are compared: functions of the cells to learn from, the cells to embed and the seed.

A method sees raw counts and the prior: no pairs, no labels, no names that mean anything. Peers run with the settings
of their own tutorials, and nothing is done to the coordinates that they return. Needs no scdart but for scdart itself,
so that it can be imported where only a peer is installed.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import scipy.sparse as sp
from _components import SharedComponents, atac_components, gene_activity, library_size, log_normalized, rna_components
from anndata import AnnData

if TYPE_CHECKING:
    from pathlib import Path

    import networkx as nx
    from mudata import MuData

MODS = ("rna", "atac")


@dataclass(frozen=True)
class Method:
    """How to call a method, and what it can do."""

    #: Name of its function.
    function: str
    #: Module or package that it needs.
    requires: str
    #: Whether it embeds cells that it was not trained on; if not, it is handed its training cells again.
    embeds_new_cells: bool
    options: dict[str, Any] = field(default_factory=dict)
    #: Module of this folder with the function.
    module: str = "_methods"
    #: Where `requires` comes from: a module of Python, or a package of R.
    language: Literal["Python", "R"] = "Python"
    #: Why nobody can run it, where that is known without a try.
    unavailable: str = ""


#: Column of `obs` with the batch of each cell, in the data sets where methods are told.
BATCH = "batch"

METHODS = {
    "scdart": Method("scdart", "scdart", embeds_new_cells=True),
    "scdart-paper": Method("scdart", "scdart", embeds_new_cells=True, options={"preset": "paper"}),
    "linear": Method("linear", "sklearn", embeds_new_cells=True),
    "harmony": Method("harmony", "harmonypy", embeds_new_cells=False),
    "moscot": Method("moscot", "moscot", embeds_new_cells=False),
    "liger": Method("liger", "pyliger", embeds_new_cells=False),
    "glue": Method("glue", "scglue", embeds_new_cells=True),
}

#: The same, told of batches where they can be.
BATCH_METHODS = {
    "scdart": replace(METHODS["scdart"], options={"batch_key": BATCH}),
    "scdart without key": METHODS["scdart"],
    **{name: METHODS[name] for name in ("linear", "moscot")},
    **{name: replace(METHODS[name], options={"batch_key": BATCH}) for name in ("harmony", "liger", "glue")},
}


@dataclass(frozen=True)
class Embedding:
    """Latent coordinates of the cells, and from methods that have them predicted expression and peak-gene links."""

    rna: np.ndarray
    atac: np.ndarray
    #: Log-normalised expression of the ATAC cells, cells x genes.
    expression: np.ndarray | None = None
    #: Strength of the links, peaks x genes.
    links: sp.spmatrix | None = None

    def save(self, path: Path) -> None:
        arrays = {"rna": self.rna, "atac": self.atac}
        if self.expression is not None:
            arrays["expression"] = self.expression
        if self.links is not None:
            links = sp.coo_matrix(self.links)
            arrays |= {"peak": links.row, "gene": links.col, "weight": links.data, "shape": np.array(links.shape)}
        np.savez(path, **arrays)

    @classmethod
    def load(cls, path: Path) -> Embedding:
        with np.load(path) as stored:
            arrays = dict(stored)
        links = None
        if "weight" in arrays:
            links = sp.csr_matrix((arrays["weight"], (arrays["peak"], arrays["gene"])), shape=tuple(arrays["shape"]))
        return cls(arrays["rna"], arrays["atac"], arrays.get("expression"), links)


def scdart(
    train: MuData,
    cells: MuData,
    seed: int,
    *,
    preset: str = "default",
    t: list[int] | None = None,
    anchors: bool = True,
    refine: Literal["auto"] | bool = "auto",
    batch_key: str | None = None,
    **module: Any,
) -> Embedding:
    """The model of this package: its defaults, the paper's settings, or single options changed."""
    import scvi

    from scdart import model, pp

    scvi.settings.seed = seed
    settings = model.PRESETS[preset]
    pp.diffusion_coordinates(train, t=t or settings.t, batch_key=batch_key, random_state=seed, **settings.diffusion)
    anchored = anchors and settings.anchors
    if anchored:
        pp.anchors(train, refine=refine, batch_key=batch_key, random_state=seed)
    model.SCDART.setup_mudata(train, anchors_key="anchors" if anchored else None, batch_key=batch_key)
    trained = model.SCDART(train, preset=preset, **module)
    trained.train(accelerator="cpu", enable_progress_bar=False)
    coordinates = {mod: trained.get_latent_representation(cells, modality=mod) for mod in MODS}
    links = trained.get_peak_gene_links()
    pairs = (cells[mod].var_names.get_indexer(links[of]) for mod, of in (("atac", "peak"), ("rna", "gene")))
    # Links of the prior rank above all others, and among themselves by how strong they were learned to be.
    strength = sp.csr_matrix((1 + links["z"].abs(), tuple(pairs)), shape=(cells["atac"].n_vars, cells["rna"].n_vars))
    return Embedding(**coordinates, expression=trained.get_gene_activity(cells).to_numpy(), links=strength)


def linear(train: MuData, cells: MuData, seed: int) -> Embedding:
    """Principal components of expression and of linear gene activity, fitted together."""
    components = SharedComponents(train)
    return Embedding(
        **{mod: components(cells, mod) for mod in MODS},
        expression=log_normalized(gene_activity(cells), library_size(train["rna"].X)).toarray(),
        links=train["atac"].varm["gene_activity"],
    )


def harmony(train: MuData, cells: MuData, seed: int, *, batch_key: str | None = None) -> Embedding:
    """Harmony on the components of `linear`, with the modality as the batch, and batches within it as another."""
    import harmonypy

    components = SharedComponents(train)
    coordinates = [components(cells, mod) for mod in MODS]
    known = pd.DataFrame({"modality": np.repeat(MODS, [len(z) for z in coordinates])})
    if batch_key is not None:
        known[batch_key] = np.concatenate([cells[mod].obs[batch_key].astype(str) for mod in MODS])
    options = {"vars_use": list(known), "random_state": seed, "verbose": False}
    corrected = harmonypy.run_harmony(np.vstack(coordinates), known, **options).Z_corr
    return Embedding(*np.split(corrected, [cells["rna"].n_obs]))


def moscot(train: MuData, cells: MuData, seed: int) -> Embedding:
    """Fused Gromov-Wasserstein translation of ATAC cells into the components of RNA, sharing those of `linear`."""
    from moscot.problems.cross_modality import TranslationProblem

    components = SharedComponents(train)
    rna, atac = (AnnData(components(cells, mod), cells[mod].obs) for mod in MODS)
    for adata in (rna, atac):
        adata.obsm["shared"] = adata.X
    rna.obsm["X_pca"] = rna_components().fit_transform(cells["rna"].X)
    atac.obsm["X_lsi"] = atac_components().fit_transform(cells["atac"].X)
    problem = TranslationProblem(adata_src=atac, adata_tgt=rna)
    problem = problem.prepare(src_attr="X_lsi", tgt_attr="X_pca", joint_attr="shared").solve(alpha=0.7, epsilon=5e-3)
    translated = problem.translate(source="src", target="tgt", forward=True)
    expression = log_normalized(cells["rna"].X, library_size(train["rna"].X)).toarray()
    predicted = problem["src", "tgt"].solution.pull(expression, scale_by_marginals=True)
    return Embedding(rna.obsm["X_pca"], np.asarray(translated), expression=np.asarray(predicted))


def liger(train: MuData, cells: MuData, seed: int, *, batch_key: str | None = None) -> Embedding:
    """Integrative non-negative matrix factorisation of expression and linear gene activity, quantile-normalised.

    Every batch is a data set of its own.
    """
    import pyliger

    counts = {"rna": sp.csr_matrix(cells["rna"].X), "atac": gene_activity(cells).rint()}
    batch = {mod: np.full(cells[mod].n_obs, mod) if batch_key is None else cells[mod].obs[batch_key] for mod in MODS}
    rows = {name: (mod, np.flatnonzero(batch[mod] == name)) for mod in MODS for name in np.unique(batch[mod])}
    detected = np.all([counts[mod][of].getnnz(axis=0) > 0 for mod, of in rows.values()], axis=0)
    genes = pd.DataFrame(index=pd.Index(cells["rna"].var_names[detected], name="gene"))
    adatas = [
        AnnData(
            counts[mod][of][:, detected],
            cells[mod].obs.iloc[of].rename_axis("cell"),
            genes.copy(),
            uns={"sample_name": str(name)},
        )
        for name, (mod, of) in rows.items()
    ]
    problem = pyliger.create_liger(adatas, remove_missing=False)
    pyliger.normalize(problem, remove_missing=False)
    problem.var_genes = genes.index.to_numpy()
    pyliger.scale_not_center(problem, remove_missing=False)
    pyliger.optimize_ALS(problem, k=20, rand_seed=seed + 1)
    pyliger.quantile_norm(problem, rand_seed=seed + 1)
    found = {mod: np.empty((cells[mod].n_obs, adatas[0].obsm["H_norm"].shape[1])) for mod in MODS}
    for adata, (mod, of) in zip(problem.adata_list, rows.values(), strict=True):
        found[mod][of] = adata.obsm["H_norm"]
    return Embedding(**found)


def glue(train: MuData, cells: MuData, seed: int, *, batch_key: str | None = None) -> Embedding:
    """Graph-linked variational autoencoders, with the prior as the guidance graph."""
    import scglue

    scglue.config.CPU_ONLY = True
    prior = sp.coo_matrix(train["atac"].varm["gene_activity"])
    used = {"rna": np.ones(prior.shape[1], bool), "atac": np.bincount(prior.row, minlength=prior.shape[0]) > 0}
    learned, embedded = {}, {}
    for mod, components in (("rna", rna_components), ("atac", atac_components)):
        pipeline = components(min(100, min(train[mod].shape) - 2)).fit(train[mod].X)
        for adatas, mdata in ((learned, train), (embedded, cells)):
            adata = adatas[mod] = AnnData(sp.csr_matrix(mdata[mod].X).rint(), mdata[mod].obs, mdata[mod].var[[]])
            adata.var["highly_variable"] = used[mod]
            adata.obsm["X_components"] = pipeline.transform(mdata[mod].X)
            scglue.models.configure_dataset(adata, "NB", use_rep="X_components", use_batch=batch_key)
    genes, peaks = train["rna"].var_names, train["atac"].var_names
    graph = _guidance_graph(genes.append(peaks[used["atac"]]), zip(peaks[prior.row], genes[prior.col], strict=True))
    with tempfile.TemporaryDirectory() as directory:
        options = {"init_kws": {"random_seed": seed}, "fit_kws": {"directory": directory}}
        trained = scglue.models.fit_SCGLUE(learned, graph, **options)

    features = pd.DataFrame(trained.encode_graph(graph), index=trained.vertices)
    features = features.div(np.linalg.norm(features, axis=1), axis=0)
    cosine = (features.loc[peaks[prior.row]].to_numpy() * features.loc[genes[prior.col]].to_numpy()).sum(axis=1)
    decoded = trained.decode_data("atac", "rna", embedded["atac"], graph, target_libsize=library_size(train["rna"].X))
    return Embedding(
        **{mod: trained.encode_data(mod, embedded[mod]) for mod in MODS},
        expression=np.log1p(decoded),
        links=sp.csr_matrix((cosine, (prior.row, prior.col)), shape=prior.shape),
    )


def _guidance_graph(features: pd.Index, links: zip) -> nx.MultiDiGraph:
    """Graph of features with an edge each way for every link, and a loop at every feature."""
    import networkx as nx

    graph = nx.MultiDiGraph()
    graph.add_edges_from(((name, name) for name in features), weight=1.0, sign=1)
    for peak, gene in links:
        graph.add_edges_from([(peak, gene), (gene, peak)], weight=1.0, sign=1)
    return graph
