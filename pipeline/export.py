"""Stage: the trained network as `models/<task>/model.nir`, and beside it the names of its nodes.

nodes.json lists, for every layer of the network, the node that has its output; null for a layer without.
"""

from __future__ import annotations

from pathlib import Path

from pipeline import schema, stage
from spyx_nir import files


def export(task: schema.Task, root: Path = Path(".")) -> None:
    """Write the network of `task` with its trained weights; refuse what NIR cannot say.

    Raises:
        UserError: the weights are missing or broken, or a layer or value cannot be written.
    """
    from pipeline.training import networks
    from spyx_nir.converter import file

    folder = root / "models" / task.name
    model = networks.from_weights(task, folder / "weights.safetensors")
    graph, names = networks.to_graph(task, model), networks.node_names(task, model)
    files.write_json(folder / "nodes.json", names)
    file.write(folder / "model.nir", graph)
    print(f"{task.name}: {len(graph.nodes)} nodes -> {folder / 'model.nir'}")


if __name__ == "__main__":
    stage.main(export, "Export the trained network of a task as a NIR file.")
