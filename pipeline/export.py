"""Stage: the trained network as `models/<task>/model.nir`."""

from __future__ import annotations

from pathlib import Path

from pipeline import params, stage


def export(task: params.Task, root: Path = Path(".")) -> None:
    """Write the network of `task` with its trained weights; refuse what NIR cannot say.

    Raises:
        UserError: the weights are missing or broken, or a layer or value cannot be written.
    """
    from pipeline import networks
    from pipeline.converter import file, to_nir

    folder = root / "models" / task.name
    model = networks.from_weights(task, folder / "weights.safetensors")
    graph = to_nir(
        model,
        {"input": networks.input_shape(task)},
        {"output": networks.output_shape(task)},
        task.export.dt,
        strict=True,
        time_unit=task.export.time_unit,
        input_bin_s=task.data.bin_us * 1e-6,
        n_steps=task.data.bins,
        classes=task.data.classes,
        readout="spike_count",
    )
    file.write(folder / "model.nir", graph)
    print(f"{task.name}: {len(graph.nodes)} nodes -> {folder / 'model.nir'}")


if __name__ == "__main__":
    stage.main(export, "Export the trained network of a task as a NIR file.")
