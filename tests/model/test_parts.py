"""What a model is made of: named parts, presets, and what a subclass brings."""

from __future__ import annotations

import numpy as np
import pytest
import scvi

from scdart.model import SCDART
from scdart.module import LOSS_TERMS, SCDARTModule

QUIET = {"enable_progress_bar": False, "accelerator": "cpu"}


def test_paper_preset_on_the_documented_route_uses_no_anchors(make_mdata):
    mdata, latents = make_mdata(), []
    for anchors_key in ("anchors", None):
        scvi.settings.seed = 0
        SCDART.setup_mudata(mdata, anchors_key=anchors_key)
        model = SCDART(mdata, preset="paper", activity_hidden=(16,), projection_hidden=(16,))
        model.train(max_epochs=2, **QUIET)
        assert not {"pair_train", "expression_train"} & set(model.history)
        latents.append(model.get_latent_representation())
    np.testing.assert_array_equal(*latents)


@pytest.mark.parametrize(
    ("option", "choices"),
    [
        ("architecture", ["linear-start", "published"]),
        ("distance_loss", ["log", "kl", "mse"]),
        ("alignment_loss", ["mmd", "published"]),
        ("prior_penalty", ["share", "l1", "l2"]),
    ],
)
@pytest.mark.parametrize("value", ["publised", "huber", None, 3])
def test_misspelt_names_list_the_choices(make_mdata, option, choices, value):
    mdata = make_mdata()
    SCDART.setup_mudata(mdata)
    with pytest.raises(ValueError, match=f"{option}={value!r} is not known") as error:
        SCDART(mdata, **{option: value})
    assert str(choices) in str(error.value)


def test_unknown_options_list_the_weights(make_mdata):
    mdata = make_mdata()
    SCDART.setup_mudata(mdata)
    with pytest.raises(TypeError, match=r"\['pairs_weight'\].*'pair_weight'"):
        SCDART(mdata, pairs_weight=1.0)


def test_weights_are_those_of_the_terms():
    sizes = {"n_genes": 5, "n_peaks": 6, "n_links": 3, "n_blocks": 1}
    assert SCDARTModule(**sizes).weights == {term.name: term.weight for term in LOSS_TERMS}
    weights = SCDARTModule(**sizes, diffusion_weight=2.0).weights
    assert [name for name, weight in weights.items() if weight == 2.0] == ["diffusion_rna", "diffusion_atac"]


def test_module_class_of_a_subclass_is_used(make_mdata):
    class OwnModule(SCDARTModule):
        pass

    class Own(SCDART):
        _module_cls = OwnModule

    mdata = make_mdata()
    Own.setup_mudata(mdata)
    model = Own(mdata, n_latent=3)
    assert type(model.module) is OwnModule
    model.train(max_epochs=1, **QUIET)
    assert np.isfinite(model.get_latent_representation()).all()


def test_anchors_that_are_missing(make_mdata):
    mdata = make_mdata()
    with pytest.raises(KeyError, match=r"no 'mine'.*pp.anchors\(mdata, key_added='mine'\)"):
        SCDART.setup_mudata(mdata, anchors_key="mine")
    assert "mine" not in mdata.obsp
