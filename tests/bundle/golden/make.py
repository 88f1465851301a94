"""Writes the golden AEDAT4 files with dv-processing 2.0.4, by the vendor of the format. See SOURCE.md."""

import dv_processing as dv
import numpy as np

random = np.random.default_rng(17)
n = 40
t = 1_700_000_000_000_000 + np.sort(random.integers(0, 30_000, n))
x, y, p = random.integers(0, 34, n), random.integers(0, 34, n), random.integers(0, 2, n)
x[0], y[0], p[0] = 33, 0, 1
x[-1], y[-1], p[-1] = 0, 33, 0
for name in ("NONE", "LZ4", "ZSTD"):
    kind = getattr(dv.CompressionType, name)
    config = dv.io.MonoCameraWriter.EventOnlyConfig("camera", (34, 34), kind)
    writer = dv.io.MonoCameraWriter(f"{name.lower()}.aedat4", config)
    for part in (slice(0, 25), slice(25, n)):  # two packets
        store = dv.EventStore()
        for i in range(n)[part]:
            store.push_back(int(t[i]), int(x[i]), int(y[i]), bool(p[i]))
        writer.writeEvents(store)
    del writer
np.savez("expected.npz", t=t, x=x, y=y, p=p)
