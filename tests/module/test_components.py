from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse

from scdart.module._components import (
    GeneActivityNetwork,
    ProjectionNetwork,
    PublishedGeneActivityNetwork,
)

torch.set_num_threads(1)


def domain(x: torch.Tensor, code: int) -> torch.Tensor:
    return torch.full((len(x),), code)


VARIANTS = [GeneActivityNetwork, PublishedGeneActivityNetwork]


@pytest.fixture
def prior() -> sparse.csr_matrix:
    return sparse.random(40, 6, density=0.1, format="csr", dtype=np.float32, random_state=0)


@pytest.fixture
def accessibility() -> torch.Tensor:
    return torch.bernoulli(torch.full((64, 40), 0.2), generator=torch.Generator().manual_seed(0))


def make_network(prior: sparse.csr_matrix, network_class: type = GeneActivityNetwork, **options) -> torch.nn.Module:
    torch.manual_seed(0)
    network = network_class(*prior.shape, prior.nnz, n_hidden=(8, 7), **options)
    network.set_prior(prior)
    return network


def randomize(network: torch.nn.Module) -> None:
    """Move every parameter off its special starting value."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))


@pytest.mark.parametrize("network_class", VARIANTS)
def test_gene_activity_of_one_cell_is_that_in_a_batch(
    prior: sparse.csr_matrix, accessibility: torch.Tensor, network_class: type
) -> None:
    network = make_network(prior, network_class)
    randomize(network)
    network(accessibility)  # moves the running statistics
    network.eval()
    together = network(accessibility)
    alone = torch.cat([network(cell[None].to_sparse_csr()) for cell in accessibility])
    torch.testing.assert_close(alone, together, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("network_class", VARIANTS)
def test_gene_activity_dense_is_csr(prior: sparse.csr_matrix, accessibility: torch.Tensor, network_class: type) -> None:
    results = []
    for x in (accessibility, accessibility.to_sparse_csr()):
        network = make_network(prior, network_class)
        randomize(network)
        y = network(x)
        y.square().sum().backward()
        results.append([y, *(parameter.grad for parameter in network.parameters())])
    for dense, csr in zip(*results, strict=True):
        torch.testing.assert_close(csr, dense, atol=1e-3, rtol=1e-4)


def test_default_network_starts_linear_and_keeps_its_directions(
    prior: sparse.csr_matrix, accessibility: torch.Tensor
) -> None:
    network = make_network(prior, n_directions=3)
    directions, offset, programmes = torch.randn(40, 3), torch.randn(3), torch.randn(6, 3)
    network.set_directions(directions, offset, programmes)
    x = accessibility.numpy()
    linear = (x @ directions.numpy() + offset.numpy()) @ programmes.numpy().T
    np.testing.assert_allclose(network(accessibility).detach(), x @ prior.toarray() + linear, atol=1e-4)
    # What follows learns, the directions stay.
    target = torch.randn(64, 6)
    optimizer = torch.optim.Adam((p for p in network.parameters() if p.requires_grad), lr=1e-2)
    errors = []
    for _ in range(100):
        error = (network(accessibility) - target).square().mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        errors.append(error.item())
    assert torch.equal(network.directions.weight, directions)
    assert network.nonlinear[-1].weight.abs().sum() > 0
    assert errors[-1] < 0.5 * errors[0]


def test_published_network_layer_by_layer(prior: sparse.csr_matrix, accessibility: torch.Tensor) -> None:
    network = make_network(prior, PublishedGeneActivityNetwork)
    assert network.link_weights is None
    x = accessibility.numpy()
    for weight in network.linear_weights():
        x = x @ weight.detach().numpy().T
        x = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-3)
        x = np.where(x > 0, x, 0.2 * x)
    np.testing.assert_allclose(network(accessibility).detach(), x, atol=1e-4)


def test_default_network_layer_by_layer(prior: sparse.csr_matrix, accessibility: torch.Tensor) -> None:
    network = make_network(prior, n_directions=3)
    randomize(network)
    parameter = {name: p.detach().numpy() for name, p in network.named_parameters()}
    position = accessibility.numpy() @ parameter["directions.weight"] + parameter["directions.bias"]
    hidden = position
    for layer in (0, 3):
        hidden = hidden @ parameter[f"nonlinear.{layer}.weight"].T + parameter[f"nonlinear.{layer}.bias"]
        hidden = np.where(hidden > 0, hidden, 0.2 * hidden)
    hidden = hidden @ parameter["nonlinear.6.weight"].T + parameter["nonlinear.6.bias"]
    expected = (position @ parameter["linear.weight"].T + hidden) @ parameter["programmes.weight"].T
    expected = expected + network.links(accessibility).detach().numpy()
    np.testing.assert_allclose(network(accessibility).detach(), expected, atol=1e-4)


def test_linear_weights_are_the_layers_own(prior: sparse.csr_matrix) -> None:
    network = make_network(prior, n_directions=3)
    assert [tuple(weight.shape) for weight in network.linear_weights()] == [(3, 40), (3, 3), (6, 3)]
    network.linear_weights()[0].sum().backward()
    torch.testing.assert_close(network.directions.weight.grad, torch.ones(40, 3))


@pytest.mark.parametrize("network_class", VARIANTS)
def test_gene_activity_state_dict(prior: sparse.csr_matrix, accessibility: torch.Tensor, network_class: type) -> None:
    network = make_network(prior, network_class)
    randomize(network)
    network(accessibility)
    rebuilt = network_class(*prior.shape, prior.nnz, n_hidden=(8, 7))  # the prior comes with the state
    rebuilt.load_state_dict(network.state_dict())
    assert torch.equal(rebuilt.links.genes, network.links.genes)
    assert torch.equal(rebuilt.eval()(accessibility), network.eval()(accessibility))


def make_projection(**options) -> ProjectionNetwork:
    torch.manual_seed(0)
    return ProjectionNetwork(n_genes=6, n_latent=2, n_hidden=(8, 5), **options)


def test_projection_reads_components_and_passes_them_on() -> None:
    network = make_projection(n_components=3).eval()
    components, x = torch.randn(3, 6), torch.randn(30, 6)
    network.set_components(components)
    assert not network.components.weight.requires_grad
    torch.nn.init.zeros_(network.output.weight)
    first = network.norms[0](network.layers[0](x @ components.t()), domain(x, 0))
    expected = first @ network.shortcut.weight.t() + network.output.bias
    torch.testing.assert_close(network(x, domain(x, 0)), expected)


def test_projection_layer_by_layer() -> None:
    network = make_projection()
    inputs = torch.randn(30, 6)
    x = inputs.numpy()
    for layer in network.layers:
        x = x @ layer.weight.detach().numpy().T
        x = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-3)
        x = np.where(x > 0, x, 0.2 * x)
    x = x @ network.output.weight.detach().numpy().T + network.output.bias.detach().numpy()
    np.testing.assert_allclose(network(inputs, domain(inputs, 0)).detach(), x, atol=1e-5)


def test_projection_train_and_eval_agree_by_domain() -> None:
    """Two modalities that differ by shift and scale alone share a latent space in training, and keep it in eval."""
    network = make_projection()
    rna = torch.randn(200, 6)
    batches = {0: rna, 1: 3 * rna + 4}
    in_training = {}
    for _ in range(1000):
        in_training = {code: network(x, domain(x, code)).detach() for code, x in batches.items()}
    network.eval()
    found = {code: network(x, domain(x, code)).detach() for code, x in batches.items()}
    for code in batches:
        np.testing.assert_allclose(found[code], in_training[code], atol=0.02)
    np.testing.assert_allclose(found[0], found[1], atol=0.02)


def test_projection_of_one_cell_is_that_in_a_batch() -> None:
    network = make_projection(dropout=0.2)
    x = torch.randn(20, 6)
    network(x, domain(x, 1))
    network.eval()
    alone = torch.cat([network(cell[None], torch.tensor([1])) for cell in x])
    torch.testing.assert_close(alone, network(x, domain(x, 1)), atol=1e-6, rtol=1e-5)


def test_projection_state_dict() -> None:
    network, x = make_projection(), torch.randn(20, 6)
    network(x, domain(x, 1))
    rebuilt = ProjectionNetwork(n_genes=6, n_latent=2, n_hidden=(8, 5))
    rebuilt.load_state_dict(network.state_dict())
    for code in (0, 1):
        assert torch.equal(rebuilt.eval()(x, domain(x, code)), network.eval()(x, domain(x, code)))
    assert not torch.equal(network(x, domain(x, 0)), network(x, domain(x, 1)))
