"""One row of the zoo, and the studies that rows come from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

STUDY_002 = "SR-ResUNet study (Dhruv-Sabharwal/Nvidia-Internship)"
STUDY_003 = "SRResNet and PAN study"
STUDY_004 = "lightweight x3 study (yating52997/SuperResolution)"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A network by name.

    ``family`` is its file in ``networks/``, ``options`` what differs from that family's defaults, ``scales`` the
    scales it is offered at, ``source`` where it was published.
    """

    name: str
    family: str
    what: str
    source: str
    scales: tuple[int, ...] = (2, 3, 4)
    options: Mapping[str, Any] = field(default_factory=dict)
