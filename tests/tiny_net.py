"""A classifier that is trained in a moment, and images that it recognises."""

import torch
from torch import nn
from torch.nn import functional as F


def tiny_net(n: int = 24) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """Return an ordinarily trained network of two layers, ``n`` images (1, 8, 8) of ten classes, and their labels."""
    rng = torch.Generator().manual_seed(0)
    centres = 0.25 + 0.5 * torch.rand(10, 1, 8, 8, generator=rng)
    labels = torch.arange(400) % 10
    images = (centres[labels] + 0.1 * torch.randn(400, 1, 8, 8, generator=rng)).clamp(0, 1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
    optimizer.zero_grad()
    return model.eval().requires_grad_(False), images[:n].clone(), labels[:n].clone()
