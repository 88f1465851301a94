"""Stage: the trained network as `models/<task>/model.nir`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import schema, stage

if TYPE_CHECKING:
    import nir


def export(task: schema.Task, root: Path = Path(".")) -> None:
    """Write the network of `task` with its trained weights; refuse what NIR cannot say.

    Raises:
        UserError: the weights are missing or broken, or a layer or value cannot be written.
    """
    from pipeline.training import networks
    from spyx_nir.converter import file

    folder = root / "models" / task.name
    graph = to_graph(task, networks.from_weights(task, folder / "weights.safetensors"))
    file.write(folder / "model.nir", graph)
    print(f"{task.name}: {len(graph.nodes)} nodes -> {folder / 'model.nir'}")


def to_graph(task: schema.Task, model: Any) -> nir.NIRGraph:
    """The network `model` of `task` as a graph with its contract.

    Raises:
        GraphError: a layer or value cannot be written, or layers do not fit together.
    """
    from pipeline.training import networks
    from spyx_nir.converter import to_nir

    return to_nir(
        model,
        {"input": networks.input_shape(task)},
        {"output": networks.output_shape(task)},
        task.export.dt,
        strict=True,
        time_unit=task.export.time_unit,
        input_bin_s=task.data.bin_s,
        n_steps=task.data.bins,
        classes=task.data.classes,
        readout="spike_count",
    )


if __name__ == "__main__":
    stage.main(export, "Export the trained network of a task as a NIR file.")
