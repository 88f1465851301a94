"""samna for tests: no board, but one that computes by the bundle's own verify_integers.py.

`install()` puts stand-ins for the modules samna and samnagui in place, whose packages fetch a program
when they are imported. The fake board takes Spike events for one core, runs the event-driven rule on the
network of `integer_vectors.npz` in the working directory, and returns a Spike for every spike of the
cores that are monitored. It refuses events where its configuration has states that are not 0, or other
weights, thresholds or resets than the vectors.
"""

from __future__ import annotations

import sys
import types
from typing import Any

import numpy as np


class Bag:
    """An object with any attribute; attributes that are asked for are bags, and so are items."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = Bag()
        setattr(self, name, value)
        return value


class Spike(Bag):
    pass


class Layers(list[Bag]):
    def __init__(self) -> None:
        super().__init__(Bag() for _ in range(9))
        for layer in self:
            layer.destinations = [Bag(), Bag()]
            for destination in layer.destinations:
                destination.pooling = 1
            layer.monitor_enable = False
            layer.neurons_initial_value = []


class Configuration(Bag):
    def __init__(self) -> None:
        self.cnn_layers = Layers()


class Board:
    """The one device: model, stop watch and both ends of the filter graphs at once."""

    device_type_name = "Speck2fModuleDevKit"
    usb_device_address = 0
    configuration: Configuration
    waiting: list[Spike]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("get_"):
            return lambda *_: self
        raise AttributeError(name)

    def start(self) -> None:
        pass

    stop = reset = start

    def apply_configuration(self, configuration: Configuration) -> None:
        self.configuration, self.waiting = configuration, []

    def take(self, sent: list[Spike]) -> None:
        import verify_integers as rule

        arrays = rule.read(rule.VECTORS)
        network = rule.network_of(arrays)
        cores = [
            (number, core)
            for number, core in enumerate(self.configuration.cnn_layers)
            if "threshold_high" in vars(core)
        ]
        order = [next(number for number, core in cores if number == sent[0].layer)]
        while self.configuration.cnn_layers[order[-1]].destinations[0].enable is True:
            order.append(self.configuration.cnn_layers[order[-1]].destinations[0].layer)
        shape = network.inputs["input"]
        place = [(e.feature * shape[1] + e.y) * shape[2] + e.x for e in sent]
        trains = rule.run_events(network, {"input": np.array(place, np.int64)})
        for number, population in zip(order, network.populations, strict=True):
            core = self.configuration.cnn_layers[number]
            (weight,) = network.into(population)
            loaded = np.swapaxes(np.array(core.weights), 2, 3).reshape(weight.values.shape)
            assert (loaded == weight.values).all(), "other weights"
            assert core.threshold_high == population.threshold == -core.threshold_low
            assert core.return_to_zero == (population.reset == "v_reset")
            assert not np.any(core.neurons_initial_value), "states that are not 0"
            assert not np.any(core.biases) and not core.leak_enable
            if core.monitor_enable is not True:
                continue
            found = trains[population.name]
            cube = (*population.shape, 1, 1)[:3]
            channel, y, x = np.unravel_index(found.neuron, cube)
            for event, *where in zip(found.event, channel, y, x, strict=True):
                spike = Spike()
                spike.layer, spike.timestamp = number, sent[event].timestamp
                spike.feature, spike.y, spike.x = where
                self.waiting.append(spike)


BOARD = Board()


class Source:
    def write(self, events: list[Spike]) -> None:
        BOARD.take(events)


class Sink:
    def get_events(self) -> list[Spike]:
        found, BOARD.waiting = BOARD.waiting, []
        return found


class Graph:
    def sequential(self, nodes: list[Any]) -> Any:
        return nodes

    def start(self) -> None:
        pass

    stop = start


def install() -> None:
    """Make `import samna` and `import samnagui` give the stand-ins, in this process."""

    def module(name: str, **content: Any) -> types.ModuleType:
        made = types.ModuleType(name)
        vars(made).update(content)
        sys.modules[name] = made
        return made

    chips = {}
    for chip in ("speck2e", "speck2f"):
        event = module(
            f"samna.{chip}.event", Spike=Spike if chip == "speck2f" else type("Other", (), {})
        )
        configuration = module(f"samna.{chip}.configuration", SpeckConfiguration=Configuration)
        chips[chip] = module(
            f"samna.{chip}",
            event=event,
            configuration=configuration,
            validate_configuration=lambda configuration: (True, ""),
        )
    device = module(
        "samna.device",
        DeviceInfo=Board,
        get_all_devices=lambda: [BOARD],
        open_device=lambda info: BOARD,
    )
    graph = module("samna.graph", EventFilterGraph=Graph, sequential=Graph().sequential)
    buffers = {
        f"Basic{end}Node_{chip}_event_{way}_event": made
        for chip in chips
        for end, way, made in (("Source", "input", Source), ("Sink", "output", Sink))
    }
    module("samna", device=device, graph=graph, **chips, **buffers)
    module("samnagui")
