"""Features that change along a trajectory, or differently after two trajectories part."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control

from scdart._checks import check_modalities, check_writable
from scdart._mudata import own_copy
from scdart._options import check_options
from scdart._process import one_blas_thread
from scdart._progress import parts

from ._curve_fits import CurveFits, fit_curves
from ._preparation import prepare
from ._problem import Problem, Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mudata import MuData
    from numpy.typing import NDArray

    from ._courses import CourseModel

logger = logging.getLogger(__name__)

#: Points along the trajectory at which effects are read off.
_N_POINTS = 101


def dynamic_features(
    mdata: MuData,
    *,
    mod: str = "rna",
    layer: str | None = None,
    obsm: str | None = None,
    features: Sequence[str] | None = None,
    pseudotime_key: str = "dpt_pseudotime",
    trajectory: str | Sequence[str] | None = None,
    between: Sequence[str] | None = None,
    backbone_key: str = "backbone",
    family: Literal["auto", "gaussian", "poisson", "nb", "binomial"] = "auto",
    df: int = 4,
    batch_key: str | None = None,
    covariates: str | Sequence[str] = (),
    size_factors: str | None = "auto",
    min_cells: int = 10,
    key_added: str | None = None,
    copy: bool = False,
) -> MuData | None:
    r"""Test which features change along a trajectory: genes, peaks, motif scores, or any layer or ``obsm``.

    A curve of natural cubic splines is fitted to each feature and compared with a constant. With ``between``, the
    question is instead which features differ between two branches: a curve for each is compared with one for both, on
    cells after the trajectories part.

    Parameters
    ----------
    mdata
        MuData with pseudotimes from :func:`scdart.tl.pseudotime`, and trajectories from :func:`scdart.tl.backbone` if
        they are named.
    mod
        Modality with the features. If it has no pseudotimes itself, those of the cells of the same names are taken.
    layer, obsm
        Slot with the features; ``X`` if neither is given. Columns of an array in ``obsm``, for example motif scores,
        are named by the slot and their number.
    features
        Names of the features to test; all by default.
    pseudotime_key
        Column of ``obs``, of ``mdata`` or a modality, with pseudotimes, NaN in cells to leave out. Not used if
        trajectories are named.
    trajectory
        One or more trajectories of the backbone, each of which is tested on its own.
    between
        Two trajectories of the backbone, whose branches are compared.
    backbone_key
        The ``key_added`` of :func:`scdart.tl.backbone`. Read is ``obsm[backbone_key + "_order"]``, a table of shape
        (n_cells, n_trajectories): pseudotimes of the cells on each trajectory, NaN elsewhere.
    family
        Distribution of the features. ``"gaussian"`` for scores and log-normalised values; ``"nb"``, negative binomial,
        for counts; ``"poisson"`` for counts that vary no more than by chance; ``"binomial"`` for whether a value is
        above 0. ``"auto"`` looks at the values: 0 and 1, other whole numbers (``"nb"``), or ``"gaussian"``.
    df
        Degrees of freedom of a curve besides its level.
    batch_key
        Column of the modality's ``obs`` with the batch of each cell (donor, lane, laboratory), whatever its type. Each
        batch has a level of its own, in the curve and in the null model; a single batch changes nothing.
    covariates
        Further columns of the modality's ``obs`` that may explain a feature in the null model too: numbers, on
        which it depends linearly, or categories.
    size_factors
        Column of the modality's ``obs`` with sizes of cells, which counts are proportional to. ``"total"`` takes the
        sum of all features in the slot; ``"auto"`` corrects it for changes of composition, if there are at least 50
        features with 50 counts; ``None`` gives all cells the same. Not used by ``"gaussian"``.
    min_cells
        Cells in which a feature has to be other than 0, and with ``"binomial"`` also those in which it has to be 0.
    key_added
        Slot to write to: by default ``"dynamic_features"``, or ``"branch_features"`` with ``between``.
    copy
        Return a changed copy instead of writing into ``mdata``.

    Returns
    -------
    ``None``, or the copy. Written are ``mdata[mod].uns[key_added + "_params"]``, the settings from which
    :func:`dynamic_curves` takes the curves, and ``mdata[mod].uns[key_added]``, a table with a row for each feature,
    named by it, and trajectory, and the columns:

    ``trajectory``
        Name of the trajectory, of the pseudotime if there is none, or ``"A vs B"``.
    ``statistic``, ``df``
        Likelihood ratio, with Bartlett's correction for features with few counts, and its degrees of freedom; F and its
        numerator's with ``"gaussian"``.
    ``p_value``, ``p_adjusted``
        The latter by Benjamini and Hochberg over the tested features of the trajectory.
    ``effect``
        Range of the curve: for counts the log2 ratio of its maximum to its minimum, each plus one count per trajectory;
        with ``"gaussian"`` in units of the feature. With ``between``, the largest difference between the branches in
        the range of pseudotimes that they share, positive if the second is higher.
    ``deviance_explained``
        Share of the null model's deviance that the curve explains.
    ``peak``
        Pseudotime of the maximum of the curve, or of the largest difference.
    ``dispersion``
        Variance of negative binomial counts is ``mean + dispersion * mean ** 2``; residual variance with
        ``"gaussian"``; else NaN.
    ``n_cells``
        Cells in which the feature is other than 0.
    ``status``
        ``"tested"``, or why not: ``"not finite"``, ``"all zero"``, ``"constant"``, ``"too few cells"``,
        ``"not converged"``. What was not tested has NaN for its p-values and does not count in their adjustment.

    Raises
    ------
    KeyError
        If a modality, slot, column, trajectory or feature is missing.
    ValueError
        If a cell has no batch, an option or the values cannot be used, or a trajectory has too few cells for its curve.

    Notes
    -----
    Pseudotime that was inferred from the features under test is not independent of them: cells are ordered such that
    features change along the order, even where there is no process. p-values take the pseudotime as given, so they are
    too small then. They rank features; for inference, take the pseudotime from the other modality's features or from
    other cells.

    Counts have a rate :math:`\lambda_{ij} = s_i \exp(\beta_{j0} + b(t_i)^\top\beta_j)` with the size :math:`s_i` of the
    cell. Negative binomial dispersions maximise the profile likelihood of the full model with the adjustment of Cox and
    Reid :cite:p:`McCarthy2012`, and the null model has the same. A binary feature is 1 with probability
    :math:`1 - e^{-\lambda_{ij}}`, as if fragments were counted and only their presence kept. Sizes from binary values
    are good where most features are open in few cells; if there are counts, name their slot with ``"binomial"``.

    If a few abundant features rise along a trajectory, they take a larger share of all counts, and the others seem to
    fall. Therefore sizes are multiplied by the trend that most features share, the median of their curves. A change of
    most features in the same direction cannot be told from one of size.

    Cells of two batches that lie at different places of the trajectory differ in what sets the batches apart, and
    without ``batch_key`` that looks like dynamics. The latent space of a model that knows the batches does not help: it
    decides where cells lie, while the counts that are tested here keep their effect. A feature is then judged by how it
    changes among cells of the same batch: where batches do not overlap along the trajectory, what sets them apart
    cannot be told from dynamics.

    Features are fitted in blocks, at a cost linear in cells and features; sparse input stays sparse.

    Examples
    --------
    >>> import scdart
    >>> mdata = scdart.datasets.simulate("linear", n_cells=300, n_genes=50, n_peaks=150)
    >>> scdart.tl.dynamic_features(mdata, pseudotime_key="pseudotime")
    >>> table = mdata["rna"].uns["dynamic_features"]
    >>> table.loc["gene0", "status"]
    'tested'
    >>> scdart.tl.dynamic_features(mdata, mod="atac", pseudotime_key="pseudotime", family="binomial")
    """
    check_options(dynamic_features, locals())
    _check(mdata, mod, trajectory, between, copy=copy)
    settings = Settings(
        layer=layer,
        obsm=obsm,
        pseudotime_key=pseudotime_key,
        trajectory=None if trajectory is None else _listed(trajectory),
        between=None if between is None else _listed(between),
        backbone_key=backbone_key,
        family=family,
        df=df,
        batch_key=batch_key,
        covariates=_listed(covariates),
        size_factors=size_factors,
    )
    with one_blas_thread():
        problems = prepare(mdata, mod, settings, features)
        tables = []
        with parts("Dynamic features", len(problems)) as begin:
            for problem in problems:
                begin(f"{len(problem.table.names):,} features along {problem.model.course.name}")
                tables.append(_test(problem, min_cells))
    target = own_copy(mdata) if copy else mdata
    key = key_added or ("dynamic_features" if between is None else "branch_features")
    target.mod[mod].uns[key] = pd.concat(tables)
    target.mod[mod].uns[f"{key}_params"] = settings.to_uns(problems)
    return target if copy else None


def _check(
    mdata: MuData,
    mod: str,
    trajectory: str | Sequence[str] | None,
    between: Sequence[str] | None,
    *,
    copy: bool,
) -> None:
    check_writable(mdata, copy=copy)
    check_modalities(mdata, mod=mod)
    if trajectory is not None and between is not None:
        raise ValueError("trajectory and between were both given: test either trajectories or the branches of two.")
    if trajectory is not None and not _listed(trajectory):
        raise ValueError("trajectory is empty: name at least one, or leave it out to take the pseudotime of all cells.")


def _listed(names: str | Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _test(problem: Problem, min_cells: int) -> pd.DataFrame:
    """Test all features along one course."""
    n_features = len(problem.table.names)
    columns = ("statistic", "p_value", "p_adjusted", "effect", "deviance_explained", "peak", "dispersion")
    table: dict[str, NDArray] = {name: np.full(n_features, np.nan) for name in columns}
    table["n_cells"] = np.zeros(n_features, dtype=np.int64)
    table["status"] = np.full(n_features, "tested", dtype=object)
    cells = problem.model.course.cells
    for block, values in problem.table.blocks(cells):
        status, table["n_cells"][block] = _status(values, problem.family, min_cells)
        testable = status == "tested"
        if testable.any():
            fits = fit_curves(problem, values[:, testable])
            status[testable] = np.where(fits.converged, "tested", "not converged")
            columns_of_fits = {
                "statistic": fits.statistic,
                "p_value": fits.p_value,
                "deviance_explained": fits.deviance_explained,
                "dispersion": fits.dispersion,
            }
            columns_of_fits["effect"], columns_of_fits["peak"] = _effect_and_peak(problem.model, problem.family, fits)
            for name, column in columns_of_fits.items():
                table[name][np.arange(n_features)[block][testable]] = np.where(fits.converged, column, np.nan)
        table["status"][block] = status
    tested = table["status"] == "tested"
    if tested.any():
        table["p_adjusted"][tested] = false_discovery_control(table["p_value"][tested])
    if not tested.all():
        logger.info("%s: %d of %d features were not tested.", problem.model.course.name, (~tested).sum(), n_features)
    result = pd.DataFrame(table, index=pd.Index(problem.table.names, name="feature"))
    result.insert(0, "trajectory", problem.model.course.name)
    result.insert(2, "df", problem.model.design.df)
    return result


def _status(values: NDArray[np.float64], family: str, min_cells: int) -> tuple[NDArray, NDArray[np.intp]]:
    n_cells = (values != 0).sum(axis=0)
    with np.errstate(invalid="ignore"):
        observed = values > 0 if family == "binomial" else values
        constant = observed.max(axis=0) == observed.min(axis=0)
    too_few = n_cells < min_cells
    if family == "binomial":
        too_few |= len(values) - n_cells < min_cells
    reasons = {
        "not finite": ~np.isfinite(values).all(axis=0),
        "all zero": n_cells == 0,
        "constant": constant,
        "too few cells": too_few,
    }
    return np.select(list(reasons.values()), list(reasons), default="tested").astype(object), n_cells


def _effect_and_peak(
    model: CourseModel, family: str, fits: CurveFits
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    between = len(model.course.branches) > 1
    grid = model.grid(_N_POINTS, shared=between)
    time = grid[0][1]
    curves = [rows @ fits.full.coefficients for _, _, rows in grid]
    if family != "gaussian":
        # A count in all cells together is the least that can be told from none: without it, ratios have no bound.
        least = 1 / len(model.course.cells)
        curves = [np.log2(np.exp(np.minimum(curve, 700)) + least) for curve in curves]
    if between:
        difference = curves[1] - curves[0]
        largest = np.abs(difference).argmax(axis=0)
        return difference[largest, np.arange(difference.shape[1])], time[largest]
    return np.ptp(curves[0], axis=0), time[curves[0].argmax(axis=0)]
