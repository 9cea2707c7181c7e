"""Anchors inferred from the gene-activity prior."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from sklearn.preprocessing import normalize

from scdart._anchor_slots import Anchors
from scdart._constants import ATAC, RNA
from scdart._process import one_blas_thread
from scdart._progress import parts

from ._agreement import Agreement, held_out_agreement
from ._correspondence import column_sums, leaning_on_labels, override_rows, partners
from ._matching import counterpart_confidence
from ._variants import VARIANTS, Inference

if TYPE_CHECKING:
    from ._anchor_settings import AnchorSettings
    from ._correspondence import Coordinates, Evidence

logger = logging.getLogger(__name__)

#: Agreement below which the prior is said to carry no signal, in standard deviations of mismatched genes.
_MIN_Z = 3.0


def infer_anchors(evidence: Evidence, settings: AnchorSettings) -> Anchors:
    """Infer which cells correspond.

    Parameters
    ----------
    evidence
        What is known.
    settings
        How to go about it.

    Returns
    -------
    Weights whose columns sum to the confidence of the ATAC cells, confidence, coordinates, and what they come from.

    Warns
    -----
    UserWarning
        Held-out genes agree no better than mismatched ones.
    """
    names = {"auto": VARIANTS, True: ("refined",), False: ("canonical",)}[settings.refine]
    rng = np.random.default_rng(settings.random_state)

    def coordinates_from(part: Evidence, rng: np.random.Generator) -> list[Coordinates]:
        inference = Inference(part, settings, rng)
        return [variant.coordinates for variant in inference.variants(inference.draw_landmarks(), names)]

    with one_blas_thread(), parts("Anchors", 3) as begin:
        begin(f"agreement of held-out genes, {', '.join(names)}")
        agreement = dict(zip(names, held_out_agreement(evidence, coordinates_from, settings, rng), strict=True))
        best = max(agreement, key=lambda name: agreement[name].correlation)
        _report(best, agreement, grouped=evidence.groups is not None)
        n_rna, n_atac = evidence.expression.shape[0], evidence.accessibility.shape[0]
        begin(f"{best} coordinates of {n_rna:,} RNA and {n_atac:,} ATAC cells")
        inference = Inference(evidence, settings, rng)
        landmarks = inference.draw_landmarks()
        [(_, found, learned_from)] = inference.variants(landmarks, [best])

        begin("partners and confidence")
        # Landmarks that were left out can be nobody's partner: they receive nothing, and have no confidence.
        atac_of_rna, rna_of_atac = partners(found, learned_from, settings, evidence)
        confidence = {
            role: counterpart_confidence(column_sums(received), shared, own, settings, candidates)
            for role, received, shared, own, candidates in (
                (RNA, rna_of_atac, found.rna, landmarks.own_rna, landmarks.rna),
                (ATAC, atac_of_rna, found.atac, landmarks.own_atac, landmarks.atac),
            )
        }
        if evidence.groups is not None:
            # Not at all where evidence cannot be told from chance, and fully from twice that.
            trust = min(max(agreement[best].z / _MIN_Z - 1, 0.0), 1.0)
            atac_of_rna, rna_of_atac = leaning_on_labels(
                (atac_of_rna, rna_of_atac), trust, learned_from, settings, evidence, rng
            )
            # Neighbours may lend a cell confidence that its label denies it.
            for role, has in zip((RNA, ATAC), evidence.groups.has_counterpart(), strict=True):
                confidence[role] *= has
        # Partners of either modality's choice: every RNA cell has some, whether or not an ATAC cell chose it. Those
        # that ATAC lacks must not crowd out the counterparts of the cell that they chose.
        trusted = sp.diags(confidence[RNA].clip(settings.min_confidence))
        columns = normalize((rna_of_atac + atac_of_rna.T) @ trusted, norm="l1")
        if evidence.known is not None:
            confidence[RNA][evidence.known.getnnz(axis=1) > 0] = 1
            confidence[ATAC][evidence.known.getnnz(axis=0) > 0] = 1
            columns = override_rows(columns, evidence.known.T.tocsr())
    described = {
        "variant": best,
        "agreement": {name: score.correlation for name, score in agreement.items()},
        "z": agreement[best].z,
        "support": agreement[best].support,
    }
    weights = (sp.diags(confidence[ATAC]) @ columns).T.tocsr()
    return Anchors(weights, confidence, {RNA: found.rna, ATAC: found.atac}, described)


def _report(variant: str, agreement: dict[str, Agreement], *, grouped: bool) -> None:
    listed = ", ".join(f"{name} {score.correlation:.4f} (z = {score.z:.1f})" for name, score in agreement.items())
    taken = agreement[variant]
    logger.info("Agreement of held-out genes: %s. Taking %s. Support: %.2f.", listed, variant, taken.support)
    if taken.z < _MIN_Z:
        known = "." if grouped else ", or what you know of cells: groups_key=, pairs=."
        warnings.warn(
            "The gene-activity prior carries no signal that could be told from chance, so that inferred anchors may be "
            "arbitrary: expression that they transfer to ATAC cells agrees with the activity of held-out genes no "
            f"better than with that of other genes (z = {taken.z:.1f}, of which 4 would tell; correlation "
            f"{taken.correlation:.4f}). Check that peaks and genes are of the same genome build and that the prior's "
            "columns are in the order of the RNA features. If they are, other links or more genes may help: "
            f"scdart.pp.gene_activity(..., domain='auto'){known}",
            UserWarning,
            stacklevel=4,  # where the user called pp.anchors
        )
