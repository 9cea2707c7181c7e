"""Batch norm by domain against torch's, and against weights as repetitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scdart.module import DomainBatchNorm

torch.set_num_threads(1)


def domain(x: torch.Tensor, code: int) -> torch.Tensor:
    return torch.full((len(x),), code)


def test_statistics_are_kept_by_domain() -> None:
    torch.manual_seed(0)
    norm = DomainBatchNorm(3, 2)
    batches = {0: torch.randn(200, 3), 1: 5 + 2 * torch.randn(200, 3)}
    in_training = {}
    for _ in range(1000):  # momentum 0.01
        in_training = {code: norm(x, domain(x, code)) for code, x in batches.items()}
    norm.eval()
    for code, x in batches.items():
        np.testing.assert_allclose(norm.running_mean[code], x.mean(dim=0), rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(norm.running_var[code], x.var(dim=0), rtol=1e-3)
        # The running variance is the unbiased one, 200 / 199 of the batch's.
        np.testing.assert_allclose(norm(x, domain(x, code)).detach(), in_training[code].detach(), atol=0.02)


def test_shares_scale_and_offset() -> None:
    norm = DomainBatchNorm(2, 2)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([2.0, 3.0]))
        norm.bias.copy_(torch.tensor([1.0, -1.0]))
    assert {name for name, _ in norm.named_parameters()} == {"weight", "bias"}
    x = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    expected = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-3) * [2, 3] + [1, -1]
    for code in (0, 1):
        np.testing.assert_allclose(norm(torch.as_tensor(x), torch.full((50,), code)).detach(), expected, atol=1e-5)


def test_of_equal_weights_is_torchs() -> None:
    torch.manual_seed(0)
    norm, reference = DomainBatchNorm(3, 2), torch.nn.BatchNorm1d(3, eps=1e-3, momentum=0.01)
    x = (5 + torch.randn(20, 3)).requires_grad_()
    direction = torch.randn(20, 3)
    for weights in (None, torch.full((20,), 0.3)):
        (gradient,), (expected,) = (
            torch.autograd.grad((y * direction).sum(), x) for y in (norm(x, domain(x, 0), weights), reference(x))
        )
        torch.testing.assert_close(gradient, expected)
    torch.testing.assert_close(norm.running_mean[0], reference.running_mean)
    torch.testing.assert_close(norm.running_var[0], reference.running_var)


def test_weighs_cells() -> None:
    torch.manual_seed(0)
    norm, repeated = DomainBatchNorm(3, 2), DomainBatchNorm(3, 2)
    x, counts = torch.randn(30, 3), torch.randint(0, 4, (30,))
    result = norm(x, domain(x, 1), 0.2 * counts)
    torch.testing.assert_close(
        result.repeat_interleave(counts, dim=0),
        repeated(x.repeat_interleave(counts, dim=0), torch.ones(int(counts.sum()), dtype=torch.long)),
    )
    # Those of no weight are normalised by the others.
    mean, variance = x[counts > 0].mean(dim=0), x[counts > 0].var(dim=0, correction=0)
    result = norm(x, domain(x, 1), (counts > 0).float())
    torch.testing.assert_close(result, (x - mean) / (variance + 1e-3).sqrt())
    # What inference uses follows the weights, too.
    for _ in range(1500):
        norm(x, domain(x, 1), (counts > 0).float())
    torch.testing.assert_close(norm.running_mean[1], mean, atol=1e-5, rtol=0)


def test_domains_of_one_minibatch_do_not_see_each_other() -> None:
    torch.manual_seed(0)
    together, apart = DomainBatchNorm(3, 3), DomainBatchNorm(3, 3)
    x, codes, weights = 5 * torch.randn(40, 3), torch.randint(0, 3, (40,)), torch.rand(40)
    result = together(x, codes, weights)
    for code in range(3):
        own = codes == code
        torch.testing.assert_close(result[own], apart(x[own], codes[own], weights[own]))
    torch.testing.assert_close(together.running_mean, apart.running_mean)
    torch.testing.assert_close(together.running_var, apart.running_var)
    # At inference, too, each cell has the statistics of its domain.
    together.eval()
    alone = torch.cat([together(cell[None], code[None]) for cell, code in zip(x, codes, strict=True)])
    torch.testing.assert_close(together(x, codes), alone)


def test_errors() -> None:
    norm = DomainBatchNorm(2, 2)
    with pytest.raises(KeyError, match=r"domain goes to 2; the network was made for 2"):
        norm(torch.randn(4, 2), torch.tensor([0, 1, 2, 2]))
    with pytest.raises(ValueError, match=r"1 cell\(s\) of domain 0.*batch_size"):
        norm(torch.randn(1, 2), torch.tensor([0]))
    assert norm.eval()(torch.randn(1, 2), torch.tensor([0])).shape == (1, 2)
