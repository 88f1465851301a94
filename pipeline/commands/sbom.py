"""What a release was made with, as CycloneDX 1.6; without a time: the same content, the same bytes."""

from __future__ import annotations

import importlib.metadata
import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spyx_nir.bundle.templates.shared import read_json
from spyx_nir.errors import UserError, one_line
from spyx_nir.files import sha256

SUFFIX = ".cdx.json"
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", re.MULTILINE)
LICENCE = re.compile(r"^license: (\S+)$", re.MULTILINE)  # in the head of a card


def of_lock(root: Path, version: str) -> dict[str, Any]:
    """The packages that requirements.lock pins, with the licences that the installed ones declare.

    Raises:
        UserError: there is no requirements.lock.
    """
    from cyclonedx.model.component import Component, ComponentType

    try:
        text = (root / "requirements.lock").read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{root / 'requirements.lock'}: {error.strerror}") from None
    about = Component(
        name="environment",
        version=version,
        type=ComponentType.APPLICATION,
        bom_ref=f"environment@{version}",
    )
    return _document(about, [_package(name, pinned) for name, pinned in PIN.findall(text)])


def of_bundle(folder: Path, name: str, version: str) -> dict[str, Any]:
    """The files of a bundle, and the packages that made it.

    Raises:
        UserError: its manifest or its card cannot be read.
    """
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.license import DisjunctiveLicense

    try:
        packages = read_json(folder / "manifest.json")["versions"]
        licence = LICENCE.search((folder / "MODEL_CARD.md").read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{folder}: no bundle ({one_line(error)})") from None
    about = Component(
        name=name,
        version=version,
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=f"{name}@{version}",
        licenses=[DisjunctiveLicense(name=licence[1])] if licence else [],
    )
    lines = (folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    files = [
        Component(
            name=line.partition("  ")[2],
            type=ComponentType.FILE,
            bom_ref=f"file:{line.partition('  ')[2]}",
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=line.partition("  ")[0])],
        )
        for line in [*lines, f"{sha256(folder / 'SHA256SUMS')}  SHA256SUMS"]
    ]
    made_by = [_package(key, value) for key, value in packages.items() if key != "hdf5"]
    hdf5 = packages.get("hdf5")
    library = [Component(name="hdf5", version=hdf5, bom_ref=f"hdf5@{hdf5}")] if hdf5 else []
    return _document(about, [*files, *made_by, *library])


def _package(name: str, version: str) -> Any:
    from cyclonedx.contrib.license.factories import LicenseFactory
    from cyclonedx.model.component import Component
    from packageurl import PackageURL

    url = PackageURL("pypi", name=name.lower().replace("_", "-"), version=version)
    return Component(
        name=name,
        version=version,
        purl=url,
        bom_ref=url.to_string(),
        licenses=[LicenseFactory().make_from_string(licence) for licence in licences(name)][:1],
    )


def licences(name: str) -> Iterator[str]:
    """The licence that an installed package declares: an SPDX expression, else words; nothing else."""
    try:
        metadata: Any = importlib.metadata.metadata(name)
    except importlib.metadata.PackageNotFoundError:
        return
    classifiers = metadata.get_all("Classifier") or []
    words = [c.rpartition(" :: ")[2] for c in classifiers if c.startswith("License :: ")]
    text = metadata.get("License") or ""
    if expression := metadata.get("License-Expression"):
        yield expression
    elif words and words != ["OSI Approved"]:
        yield " or ".join(sorted(words))
    elif text:
        yield " ".join(text.split())[:60]  # some give the whole text


def _document(about: Any, components: list[Any]) -> dict[str, Any]:
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.output.json import JsonV1Dot6

    bom = Bom(metadata=BomMetaData(component=about), components=components)
    bom.register_dependency(about, components)
    document: dict[str, Any] = json.loads(JsonV1Dot6(bom).output_as_string())
    del document["metadata"]["timestamp"], document["serialNumber"]
    identity = json.dumps(document, sort_keys=True)
    document["serialNumber"] = uuid.uuid5(uuid.NAMESPACE_URL, identity).urn
    return document
