"""The CNN of the NIR paper: a rate network trained in torch, made spiking and exported by sinabs.

    .venv-peers/bin/python bench/peers/paper_cnn.py DATA OUT.nir

DATA: the folder that has NMNIST/Train/<digit>/*.bin. Architecture and conversion are those of
paper/02_cnn/mnist_sinabs_to_nir.py in neuromorphs/NIR; the weights are trained here, not the paper's.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nir
import numpy as np
import torch
from sinabs import from_model, layers
from sinabs.nir import to_nir
from torch import nn

BIN_US, BINS = 1000, 300
SLICE = 100  # steps in a frame that the rate network is trained on
EPOCHS, SEED = 60, 0


def frames(file: Path) -> np.ndarray:
    """An N-MNIST file as counts (BINS, 2, 34, 34): 40-bit words, x, y, then polarity and microseconds."""
    raw = np.fromfile(file, np.uint8).reshape(-1, 5).astype(np.int64)
    x, y, on = raw[:, 0], raw[:, 1], raw[:, 2] >> 7
    t = (raw[:, 2] & 127) << 16 | raw[:, 3] << 8 | raw[:, 4]
    kept = (t < BINS * BIN_US) & (y < 34) & (x < 34)
    counts = np.zeros((BINS, 2, 34, 34), np.uint8)
    np.add.at(counts, (t[kept] // BIN_US, on[kept], y[kept], x[kept]), 1)
    return counts


def network() -> nn.Sequential:
    """The rate network of the paper."""
    return nn.Sequential(
        nn.Conv2d(2, 16, kernel_size=(5, 5), stride=(2, 2), padding=(1, 1), bias=False),
        nn.ReLU(),
        nn.Conv2d(16, 16, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), bias=False),
        nn.ReLU(),
        layers.SumPool2d(kernel_size=(2, 2)),
        nn.Conv2d(16, 8, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), bias=False),
        nn.ReLU(),
        layers.SumPool2d(kernel_size=(2, 2)),
        nn.Flatten(),
        nn.Linear(4 * 4 * 8, 256, bias=False),
        nn.ReLU(),
        nn.Linear(256, 10, bias=False),
        nn.ReLU(),
    )


def slices(data: Path, split: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Frames of SLICE steps, as counts, and their digits."""
    found, labels = [], []
    for digit in range(10):
        for file in sorted((data / "NMNIST" / split / str(digit)).glob("*.bin")):
            counts = frames(file).reshape(-1, SLICE, 2, 34, 34).sum(1, dtype=np.float32)
            found.append(counts)
            labels += [digit] * len(counts)
    return torch.from_numpy(np.concatenate(found)), torch.tensor(labels)


def main(data: Path, out: Path) -> None:
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    x, y = slices(data, "Train")
    test_x, test_y = slices(data, "Test")
    ann = network()
    optimiser = torch.optim.Adam(ann.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, EPOCHS)
    for epoch in range(EPOCHS):
        order = torch.randperm(len(y))
        right = 0
        for start in range(0, len(y) - 63, 64):
            some = order[start : start + 64]
            shift = tuple(torch.randint(-2, 3, (2,)).tolist())
            logits = ann[:-1](torch.roll(x[some], shift, dims=(2, 3)))
            loss = nn.functional.cross_entropy(logits, y[some])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            right += int((logits.argmax(1) == y[some]).sum())
        schedule.step()
        with torch.no_grad():
            held = (ann[:-1](test_x).argmax(1) == test_y).float().mean()
        print(f"epoch {epoch + 1}: train {right / len(y):.3f}, test frames {held:.3f}", flush=True)
    snn = from_model(
        ann, input_shape=(2, 34, 34), batch_size=1, spike_threshold=1.0, min_v_mem=-1.0
    )
    graph = to_nir(snn.spiking_model, sample_data=torch.rand((1, 2, 34, 34)))
    graph.infer_types()
    nir.write(out, graph)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
