"""Machine and settings of a training, as its records say them."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from multiblock.report.losses import kind

Record = Mapping[str, Any]


def records(phases: Mapping[tuple[int, int], Path]) -> dict[tuple[int, int], Record]:
    """The training record of each (seed, phase), by the folders of the phases."""
    return {key: json.loads((folder / "training.json").read_text(encoding="utf-8")) for key, folder in phases.items()}


def machine(found: Iterable[Record]) -> list[tuple[str, str]]:
    """What the training ran on: a name and all that was found, each once; what no record says is left out."""
    values: dict[str, dict[str, None]] = {}
    peak: dict[str, float] = {}
    for record in found:
        for name, value in _of_record(record):
            if value:
                values.setdefault(name, {})[value] = None
        for place, mib in (record.get("peak_memory_mib") or {}).items():
            peak[place] = max(peak.get(place, 0), mib or 0)
    listed = [(name, "; ".join(texts)) for name, texts in values.items()]
    return listed + [(f"peak memory, {place}", f"{mib:,.0f} MiB") for place, mib in peak.items() if mib]


def _of_record(record: Record) -> Iterator[tuple[str, str]]:
    for segment in record.get("segments") or []:
        yield "device", _with_reason(segment.get("name"), segment.get("device_reason"))
        yield "precision", _with_reason(segment.get("precision"), segment.get("precision_reason"))
        yield "layout of feature maps", _with_reason(segment.get("layout"), segment.get("layout_reason"))
        yield "threads", str(segment.get("threads") or "")
        for stage in segment.get("stages") or []:
            yield "compiled", _with_reason("yes" if stage.get("compiled") else "no", stage.get("reason"))
    versions = record.get("versions") or {}
    yield "versions", ", ".join(f"{name} {version}" for name, version in versions.items())
    yield "multiblock", " ".join(filter(None, [record.get("multiblock"), _commit(record.get("commit"))]))
    yield "machine", str(record.get("machine") or "")


def _with_reason(value: Any, reason: Any) -> str:
    return "" if not value else f"{value} ({reason})" if reason else str(value)


def _commit(commit: Any) -> str:
    return f"(commit {commit})" if commit else ""


_STAGE = ("iterations", "optimiser", "lr", "batch", "patch", "loss", "clamp", "augment")
_DEFAULTS: dict[str, Any] = {
    "options": {},
    "schedule": {},
    "parts": {},
    "vgg16": None,
    "ema": None,
    "warmup": 0,
    "clip": None,
}
_DEFAULTS |= {"intermediate": []}


def settings(stages: Sequence[tuple[int, Mapping[str, Any]]]) -> tuple[list[str], list[list[str]]]:
    """Heads and cells of the stages, a row each.

    Args:
        stages: the number of each stage's phase, and the stage as its record has it.
    """
    rows = []
    for phase, stage in stages:
        plain = {**stage, "loss": kind(stage["loss"]), "iterations": f"{stage['iterations']:,}"}
        more = [f"{name} {_said(stage[name])}" for name, left in _DEFAULTS.items() if stage.get(name, left) != left]
        rows.append([str(phase), *(str(plain.get(name, "")) for name in _STAGE), "; ".join(more)])
    return ["phase", *_STAGE, "further"], rows


def _said(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_said(one)}" for name, one in value.items())
    return json.dumps(value, ensure_ascii=False).strip('"')
