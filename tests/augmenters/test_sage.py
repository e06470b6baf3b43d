"""AGE and SAGE: the numbers that their equations must give, their limits, their controls, and what they refuse."""

import pytest
import torch

from sega_utils.augmenters import sage

MEANS = torch.tensor([[3.0, 0, 0, 0], [0, 2, 0, 0], [0, 0, 1, 0]])[:, None]  # the spec's S = 3, one group of 4


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def editing():
    """Return five classes of 40 latents in two groups of 8, and 6 atoms for them."""
    labels = torch.arange(200) % 5
    latents = torch.randn(5, 2, 8, generator=rng(1))[labels] + torch.randn(200, 2, 8, generator=rng(2))
    means = sage.class_means(latents, labels)
    atoms = torch.nn.functional.normalize(torch.randn(2, 8, 6, generator=rng(3)), dim=1)
    assert means.shape == (5, 2, 8)
    return sage.prepare(latents, labels, atoms)


def test_the_class_embedding_of_the_worked_example():
    basis = sage.class_basis(MEANS, 2, centred=False)
    found = sage.embed(basis, torch.tensor([[1.0, 2, 3, 4], [3, 0, 1, 0]])[:, None])
    assert torch.allclose(found[0], torch.tensor([2.0, 1, 0, 0]), atol=1e-6)
    assert torch.allclose(sage.embed(basis, found[None]), found, atol=1e-6)
    turned = sage.class_basis(MEANS[[2, 0, 1]], 2, centred=False)
    assert torch.allclose(sage.embed(turned, found[None]), found, atol=1e-6)


def test_with_all_directions_a_seen_class_is_its_own_embedding(editing):
    basis = sage.class_basis(editing.means, 4)
    for mean in editing.means:
        assert torch.allclose(sage.embed(basis, mean[None]), mean, atol=1e-5)
    flipped = basis._replace(directions=-basis.directions)
    assert torch.allclose(sage.embed(flipped, editing.means[:2]), sage.embed(basis, editing.means[:2]), atol=1e-6)


def test_orthogonality_of_the_worked_example_and_its_gradient():
    columns, atoms = MEANS.permute(1, 2, 0), torch.tensor([1.0, 1, 0, 1]).view(1, 4, 1).requires_grad_()
    loss = sage.orthogonality(columns, atoms)
    assert float(loss) == pytest.approx(13) and float(sage.orthogonality(columns, atoms, form="code")) == (
        pytest.approx(5 / 3)
    )
    loss.backward()
    with torch.no_grad():
        assert sage.orthogonality(columns, atoms - 0.01 * atoms.grad) < loss


def test_sparsity_of_the_worked_example():
    codes = torch.tensor([0.0, 2, -2])
    assert float(sage.sparsity(codes, form="printed")) == pytest.approx(2.1119, abs=1e-4)
    assert float(sage.sparsity(codes)) == pytest.approx(1.2689, abs=1e-4)
    with pytest.raises(ValueError, match="allowed are code, printed"):
        sage.sparsity(codes, form="neither")


def test_each_class_counts_once_in_the_use_of_an_atom():
    codes = torch.tensor([[1.0, 2.9], [3, 2.9], [4, 2.9]])[:, None]
    editing = sage.Editing(torch.eye(2)[None], codes, torch.tensor([0, 0, 1]), torch.zeros(2, 1, 2))
    assert sage.strongest(editing, torch.tensor([0, 1]), 1).tolist() == [[0]]  # 3 > 2.9; by image it were 8/3
    codes[:, :, 1] = 2.7
    assert sage.strongest(editing, torch.tensor([0, 1]), 1).tolist() == [[0]]
    codes[:, :, 1] = 3.1
    assert sage.strongest(editing, torch.tensor([0, 1]), 1).tolist() == [[1]]


def test_orthonormal_atoms_are_inverted_by_their_transpose():
    atoms = torch.linalg.qr(torch.randn(1, 8, 3, generator=rng()))[0]
    latents, labels = torch.randn(6, 1, 8, generator=rng(1)), torch.arange(6) % 2
    found = sage.prepare(latents, labels, atoms)
    wanted = torch.einsum("gdl,ngd->ngl", atoms, latents - found.means[labels])
    assert torch.allclose(found.codes, wanted, atol=1e-5)


def test_the_span_of_the_atoms_decides_and_not_the_atoms(editing):
    turn = torch.linalg.qr(torch.randn(6, 6, generator=rng(4)))[0]
    turned = sage.Editing(editing.atoms @ turn, editing.codes @ turn, editing.labels, editing.means)

    def moments(found):
        chosen = found.codes[torch.isin(found.labels, torch.arange(2))]
        centred = chosen - chosen.mean(0)
        spread = torch.einsum("ngt,ngs->gts", centred, centred)
        mean = torch.einsum("gdt,gt->gd", found.atoms, chosen.mean(0))
        return mean, found.atoms @ spread @ found.atoms.transpose(1, 2)

    for one, other in zip(moments(editing), moments(turned), strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-4)
    again = sage.prepare(editing.means[editing.labels] + 0, editing.labels, editing.atoms @ turn)
    assert torch.allclose(again.codes, torch.zeros_like(again.codes), atol=1e-5)


def test_all_classes_and_all_atoms_are_the_method_without_choice(editing):
    one = sage.edits(editing, editing.means[0], 9, rng(), t_C=5, t_A=6)
    everything = sage.draw_codes(editing.codes, 9, rng())
    assert torch.allclose(one, torch.einsum("gdt,ngt->ngd", editing.atoms, everything), atol=1e-4)


def test_the_nearest_class_of_a_class_is_itself_and_never_the_farthest(editing):
    for c, mean in enumerate(editing.means):
        assert c in sage.nearest(editing.means, mean, 2)
        assert c not in sage.nearest(editing.means, mean, 2, farthest=True)


def test_closed_atoms_leave_the_class_means_alone_where_they_must(editing):
    offsets = torch.randn(300, 2, 8, generator=rng(7))
    free = sage.closed_atoms(offsets, editing.means, 3, orthogonal=False)
    bound = sage.closed_atoms(offsets, editing.means, 3, orthogonal=True)
    columns = (editing.means - editing.means.mean(0)).permute(1, 2, 0)
    assert float(sage.orthogonality(columns, bound)) < 1e-6 < float(sage.orthogonality(columns, free))
    kept = lambda atoms: float((atoms.transpose(1, 2) @ offsets.transpose(0, 1).transpose(1, 2)).pow(2).sum())
    assert kept(free) >= kept(bound)


def test_learnt_atoms_are_of_length_1_and_rebuild_offsets_better_than_random_ones():
    axes = torch.linalg.qr(torch.randn(8, 8, generator=rng(5)))[0][:, :3]
    offsets = (torch.randn(400, 3, generator=rng(6)) @ axes.T)[:, None]
    means = torch.randn(3, 1, 8, generator=rng(8))
    learnt = sage.learn_atoms(offsets, means, 3, steps=300, lr=1e-2)
    assert torch.allclose(learnt.norm(dim=1), torch.ones(1, 3), atol=1e-5)

    def missed(atoms):
        codes = torch.einsum("gld,ngd->ngl", torch.linalg.pinv(atoms), offsets)
        return float((torch.einsum("gdl,ngl->ngd", atoms, codes) - offsets).pow(2).mean())

    assert missed(learnt) < 0.2 * missed(torch.nn.functional.normalize(torch.randn(1, 8, 3, generator=rng()), dim=1))


def test_the_control_of_direction_has_the_length_of_the_edits(editing):
    drawn = sage.edits(editing, editing.means[0], 4000, rng(), t_C=2, t_A=3)
    control = sage.isotropic(drawn, rng(1))
    length = lambda edits: (edits**2).sum(2).mean(0)
    assert torch.allclose(length(control), length(drawn), rtol=0.03)


def test_a_shuffle_of_codes_keeps_them_all(editing):
    control = sage.shuffled(editing, rng())
    assert not torch.equal(control.codes, editing.codes)
    assert torch.equal(control.codes.sort(2).values, editing.codes.sort(2).values)
    other = sage.anywhere(editing, rng())
    assert torch.equal(other.codes, editing.codes) and torch.allclose(other.atoms.norm(dim=1), torch.ones(2, 6))


def test_equal_codes_have_a_singular_covariance_and_are_drawn_all_the_same():
    codes = torch.ones(5, 1, 3)
    assert torch.allclose(sage.draw_codes(codes, 4, rng()), torch.ones(4, 1, 3))
    assert torch.allclose(sage.draw_codes(codes, 4, rng(), covariance="diagonal"), torch.ones(4, 1, 3))


def test_what_is_not_allowed_is_refused(editing):
    at = {"embedding": editing.means[0], "n": 1, "rng": rng()}
    for call, message in (
        (lambda: sage.class_basis(editing.means, 5), "t_B is 5; allowed are 1 .. 4, the rank"),
        (lambda: sage.class_basis(editing.means[:1], 1), "1 seen class; give at least 2"),
        (lambda: sage.edits(editing, **at, t_C=6, t_A=1), "t_C is 6; allowed are 1 .. 5"),
        (lambda: sage.edits(editing, **at, t_C=1, t_A=7), "t_A is 7; allowed are 1 .. 6"),
        (lambda: sage.edits(editing, **at, t_C=1, t_A=1, covariance="none"), "allowed are full, diagonal"),
        (lambda: sage.class_means(editing.codes[:6], torch.tensor([0, 0, 1, 1, 1, 2])), r"classes \[2\] have fewer"),
        (lambda: sage.closed_atoms(editing.codes, editing.means[..., :6], 3, orthogonal=True), "allowed are 1 .. 2"),
        (lambda: sage.learn_atoms(editing.codes, editing.means[..., :6], 7), "received 7 atoms; allowed are 1 .. 6"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
