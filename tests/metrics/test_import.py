"""The package as a whole: light to import, complete in its names."""

from __future__ import annotations

import subprocess
import sys

import pytest

from scdart import metrics
from scdart.metrics import _scib


def test_import_is_light():
    heavy = "{'jax', 'scib_metrics', 'torch', 'scvi', 'scanpy'}"
    code = f"import sys, scdart.metrics; print(sorted({heavy} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert out.stdout.strip() == "[]"


def test_all_names_exist():
    assert sorted(metrics.__all__) == metrics.__all__
    assert all(hasattr(metrics, name) for name in metrics.__all__)


@pytest.mark.parametrize(
    "metric",
    [
        lambda z: metrics.silhouette_label(z, [0, 0, 0, 1, 1, 1]),
        lambda z: metrics.silhouette_batch(z, [0, 0, 0, 1, 1, 1]),
        lambda z: metrics.modality_mixing(z, z, k=6),
        lambda z: metrics.batch_ilisi(z, [0, 0, 0, 1, 1, 1], k=6),
        lambda z: metrics.batch_kbet(z, [0, 0, 0, 1, 1, 1], k=3),
    ],
)
def test_missing_scib_metrics_is_explained(metric, rng, monkeypatch):
    monkeypatch.setitem(sys.modules, "scib_metrics", None)
    monkeypatch.setitem(sys.modules, "scib_metrics.nearest_neighbors", None)
    with pytest.raises(ModuleNotFoundError, match="pip install scib-metrics"):
        metric(rng.normal(size=(6, 2)))


def test_import_scib_returns_the_module():
    scib_metrics = pytest.importorskip("scib_metrics")
    assert _scib.import_scib() is scib_metrics
