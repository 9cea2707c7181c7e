"""More methods to compare with, each called as its own documentation and tutorials do.

Written after `_methods.py`, with the same rules: raw counts and the prior, nothing else. All of them embed the cells
that they are trained on.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy.sparse as sp
from _components import atac_components, gene_activity, log_normalized, rna_components
from _methods import METHODS, MODS, Embedding, Method
from anndata import AnnData, concat
from scipy.io import mmwrite
from scipy.spatial.distance import cdist

if TYPE_CHECKING:
    from mudata import MuData

#: Highly variable genes, where a tutorial asks for a number of them and the data have more.
N_GENES = {"uniport": 2_000, "scconfluence": 3_000, "maxfuse": 3_000}


def _peer(function: str, requires: str, **options: str) -> Method:
    return Method(function, requires, embeds_new_cells=False, module="_peers", **options)


#: All methods, in the order of the tables.
PEERS = METHODS | {
    "seurat": _peer("seurat", "Seurat", language="R"),
    "multivi": _peer("multivi", "scvi"),
    "diagvi": _peer("diagvi", "scvi"),
    "maxfuse": _peer("maxfuse", "maxfuse"),
    "uniport": _peer("uniport", "uniport"),
    "scconfluence": _peer("scconfluence", "scconfluence"),
    "unioncom": _peer("unioncom", "unioncom"),
    "mmd-ma": _peer(
        "mmd_ma",
        "lsmmdma",
        unavailable="not installed: its package (lsmmdma 0.1.11) pins setuptools 59.5.0 and cmake 3.18",
    ),
    "scjoint (labels)": _peer("scjoint", "scjoint", unavailable="no package on PyPI; it is a repository of scripts"),
}


def multivi(train: MuData, cells: MuData, seed: int) -> Embedding:
    """MultiVI without a single paired cell: each modality has zeros in the features of the other."""
    import scvi
    from mudata import MuData

    scvi.settings.seed = seed
    obs = pd.DataFrame({"modality": np.repeat(MODS, [cells[mod].n_obs for mod in MODS])}).set_axis(_names(cells))
    empty = {mod: sp.csr_matrix((obs["modality"].ne(mod).sum(), cells[mod].n_vars), dtype=np.float32) for mod in MODS}
    joint = MuData(
        {
            mod: AnnData(
                sp.vstack([sp.csr_matrix(cells[mod].X).rint() if of == mod else empty[mod] for of in MODS], "csr"),
                obs[[]],
                cells[mod].var[[]],
            )
            for mod in MODS
        }
    )
    joint.obs["modality"] = obs["modality"]
    scvi.model.MULTIVI.setup_mudata(joint, batch_key="modality", modalities={"rna_layer": "rna", "atac_layer": "atac"})
    model = scvi.model.MULTIVI(joint)
    model.train(accelerator="cpu", enable_progress_bar=False)
    return _split(model.get_latent_representation(), cells)


def diagvi(train: MuData, cells: MuData, seed: int) -> Embedding:
    """Variational autoencoders with the prior as the guidance graph, and mixtures as priors as its tutorials have."""
    import scvi
    from scvi.external import DIAGVI

    scvi.settings.seed = seed
    adatas = {mod: AnnData(sp.csr_matrix(cells[mod].X).rint(), cells[mod].obs[[]], cells[mod].var[[]]) for mod in MODS}
    prior = sp.coo_matrix(cells["atac"].varm["gene_activity"])
    links = {"rna": cells["rna"].var_names[prior.col], "atac": cells["atac"].var_names[prior.row]}
    for adata in adatas.values():
        DIAGVI.setup_anndata(adata, likelihood="nb", gmm_prior=True)
    model = DIAGVI(adatas, mapping_df=pd.DataFrame(links))
    model.train(accelerator="cpu")
    return Embedding(**model.get_latent_representation())


def maxfuse(train: MuData, cells: MuData, seed: int) -> Embedding:
    """Fuzzy smoothed matching, with the settings that its authors used for PBMC multiome data."""
    from maxfuse.model import Fusor

    rna, activity = (log_normalized(counts) for counts in (cells["rna"].X, gene_activity(cells)))
    varying = np.all([np.std(values.toarray(), axis=0) > 0.01 for values in (rna, activity)], axis=0)
    varying &= _highly_variable(rna, cells, N_GENES["maxfuse"])
    shared = [_scaled(values[:, varying].toarray()) for values in (rna, activity)]
    active = shared[0], atac_components(49).fit_transform(cells["atac"].X)
    fusor = Fusor(*shared, *active, method="centroid_shrinkage", labels1=None, labels2=None)
    fusor.split_into_batches(max_outward_size=5_000, matching_ratio=5, metacell_size=2, method="binning", seed=seed)
    fusor.construct_graphs(
        15, 15, svd_components1=30, svd_components2=15, resolution1=2, resolution2=2, leiden_seed=seed
    )
    fusor.find_initial_pivots(0.7, 0.7, svd_components1=20, svd_components2=20)
    # Their 200 components are more than a batch of small data has metacells, which are a quarter of the cells.
    n_components = min(200, cells["rna"].n_obs // 5)
    fusor.refine_pivots(0.7, 0.7, svd_components1=n_components, svd_components2=None, cca_components=20, n_iters=8)
    fusor.filter_bad_matches(target="pivot", filter_prop=0.4)
    fusor.propagate(0.7, 0.7, svd_components1=30, svd_components2=None)
    fusor.filter_bad_matches(target="propagated", filter_prop=0.0)
    return Embedding(*(np.asarray(z) for z in fusor.get_embedding(*active, cca_components=20)))


def uniport(train: MuData, cells: MuData, seed: int) -> Embedding:
    """Coupled variational autoencoders of gene activity and expression, by optimal transport in minibatches."""
    vars(np)["Inf"] = np.inf  # a name that NumPy 2 has dropped
    import scanpy as sc
    import uniport as up

    adatas = []
    for domain, (mod, counts) in enumerate((("atac", gene_activity(cells)), ("rna", cells["rna"].X))):
        adata = AnnData(sp.csr_matrix(counts, dtype=np.float32), cells[mod].obs[[]], cells["rna"].var[[]])
        adata.obs["domain_id"] = pd.Categorical([domain] * adata.n_obs, [0, 1])
        adata.obs["source"] = mod
        adatas.append(adata)
    common = concat(adatas)
    common.obs["domain_id"] = common.obs["domain_id"].astype("category")
    for adata in (common, *adatas):
        sc.pp.normalize_total(adata)
        sc.pp.log1p(adata)
        sc.pp.highly_variable_genes(adata, n_top_genes=min(N_GENES["uniport"], adata.n_vars), subset=True)
        up.batch_scale(adata)
    with tempfile.TemporaryDirectory() as folder:
        found = up.Run(adatas=adatas, adata_cm=common, lambda_s=1.0, seed=seed, outdir=f"{folder}/")
    latent = pd.DataFrame(found.obsm["latent"], index=found.obs_names)
    # Names of cells may come back with a suffix; their order in each modality stays.
    return Embedding(*(latent[(found.obs["source"] == mod).to_numpy()].to_numpy() for mod in MODS))


def scconfluence(train: MuData, cells: MuData, seed: int) -> Embedding:
    """Autoencoders joined by inverse optimal transport, with distances of expression from gene activity."""
    import mudata
    import muon
    import scanpy as sc
    import torch
    from scconfluence import model, unimodal

    torch.manual_seed(seed)
    rna, activity = (log_normalized(counts) for counts in (cells["rna"].X, gene_activity(cells)))
    chosen = _highly_variable(rna, cells, N_GENES["scconfluence"])
    adatas = {mod: AnnData(sp.csr_matrix(cells[mod].X), cells[mod].obs[[]], cells[mod].var[[]]) for mod in MODS}
    adatas["rna"].layers["counts"] = adatas["rna"].X.rint()
    adatas["rna"].X = rna
    n_top = min(N_GENES["scconfluence"], cells["rna"].n_vars)
    by_counts = sc.pp.highly_variable_genes(
        adatas["rna"], layer="counts", n_top_genes=n_top, flavor="seurat_v3", inplace=False
    )
    adatas["rna"] = adatas["rna"][:, chosen | by_counts["highly_variable"].to_numpy()].copy()
    muon.atac.pp.tfidf(adatas["atac"], log_tf=True, log_idf=True)
    for adata in adatas.values():
        sc.tl.pca(adata, n_comps=100, zero_center=None, random_state=seed)
    mdata = mudata.MuData(adatas)
    mdata.uns["cross_rna+atac"] = cdist(*(values[:, chosen].toarray() for values in (rna, activity)))
    mdata.uns["cross_keys"] = ["cross_rna+atac"]
    options = {"rep_in": "X_pca", "batch_key": None, "n_hidden": 64, "n_latent": 16}
    autoencoders = {
        "rna": unimodal.AutoEncoder(mdata["rna"], modality="rna", rep_out="counts", type_loss="zinb", **options),
        "atac": unimodal.AutoEncoder(
            mdata["atac"], modality="atac", rep_out=None, type_loss="l2", reconstruction_weight=5.0, **options
        ),
    }
    joined = model.ScConfluence(
        mdata, autoencoders, mass=0.5, reach=0.3, iot_loss_weight=0.01, sinkhorn_loss_weight=0.1
    )
    with tempfile.TemporaryDirectory() as folder:
        joined.fit(folder, use_cuda=False, max_epochs=1_000)
        latent = joined.get_latent(use_cuda=False)
    return Embedding(*(latent.loc[cells[mod].obs_names].to_numpy() for mod in MODS))


def unioncom(train: MuData, cells: MuData, seed: int) -> Embedding:
    """Matching of the distances within each modality; no prior enters."""
    # It was last released in 2021: NumPy has dropped a name since, and what it imports of torchvision it never calls.
    vars(np)["int"] = int
    sys.modules["torchvision"] = ModuleType("torchvision")
    vars(sys.modules["torchvision"])["models"] = None
    from unioncom import UnionCom

    components = [rna_components().fit_transform(cells["rna"].X), atac_components().fit_transform(cells["atac"].X)]
    return Embedding(*UnionCom.UnionCom(manual_seed=seed).fit_transform(dataset=components))


def seurat(train: MuData, cells: MuData, seed: int) -> Embedding:
    """Transfer anchors by canonical correlation, then principal components of measured and transferred expression."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for name, counts in (("rna", cells["rna"].X), ("activity", gene_activity(cells))):
            mmwrite(place / f"{name}.mtx", sp.coo_matrix(counts).T)
        np.savetxt(place / "lsi.csv", atac_components().fit_transform(cells["atac"].X), delimiter=",")
        script = Path(__file__).with_name("_seurat.R")
        # Pythons of pyenv put libraries of their own before those that R was built with.
        clean = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
        subprocess.run(["Rscript", "--vanilla", str(script), folder, str(seed)], check=True, env=clean)
        joint = np.loadtxt(place / "joint.csv", delimiter=",")
        expression = np.fromfile(place / "expression.bin", dtype=np.float32)
    return Embedding(
        *np.split(joint, [cells["rna"].n_obs]), expression=expression.reshape(cells["atac"].n_obs, cells["rna"].n_vars)
    )


def _names(cells: MuData) -> pd.Index:
    return cells["rna"].obs_names.append(cells["atac"].obs_names)


def _split(joint: np.ndarray, cells: MuData) -> Embedding:
    return Embedding(*np.split(np.asarray(joint), [cells["rna"].n_obs]))


def _scaled(values: np.ndarray) -> np.ndarray:
    return (values - values.mean(axis=0)) / values.std(axis=0)


def _highly_variable(normalized: sp.csr_matrix, cells: MuData, n_genes: int) -> np.ndarray:
    """Mask of the genes that scanpy finds most variable."""
    import scanpy as sc

    adata = AnnData(normalized, var=cells["rna"].var[[]])
    adata.uns["log1p"] = {"base": None}
    found = sc.pp.highly_variable_genes(adata, n_top_genes=min(n_genes, adata.n_vars), inplace=False)
    return found["highly_variable"].to_numpy()
