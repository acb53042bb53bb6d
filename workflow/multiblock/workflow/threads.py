"""How many CPU threads jobs get, from the config and from the cores that there are."""

import os

_MOST_CONVERTING = 8
"""Threads of a conversion where nothing is said; each holds a few images in memory."""


def wait_passively() -> None:
    """Let the threads of this process and its children sleep while they wait for one another, unless a user says other.

    Threads that spin use up their time slices where other programs want the same cores: two threads then took seven
    times as long as one. To be called before PyTorch is imported.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def cores_here() -> int:
    """The cores that this process may use, for what is done without Snakemake."""
    affinity = getattr(os, "sched_getaffinity", None)  # macOS and Windows have none
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def threads_of_a_job(wanted: int | str, cores: int, gpus: int | None) -> int:
    """CPU threads of a job that trains or measures.

    Args:
        wanted: the config key ``threads``.
        cores, gpus: what Snakemake was given; None where it was not told how many GPUs.
    """
    return max(1, cores // (gpus or 1)) if wanted == "auto" else min(int(wanted), cores)


def threads_of_a_conversion(wanted: int | str, cores: int) -> int:
    """CPU threads that turn image files into arrays, by the config key ``convert_threads``."""
    return min(_MOST_CONVERTING if wanted == "auto" else int(wanted), cores)
