"""The default run as a user types it: how much of its time is not training, and where that goes."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

from bench import ROOT, How, Table


def trained(how: How) -> Path:
    """The results folder of the last default run that was measured; one is made where there is none."""
    if not list(how.work.glob("default_run/results/default/psnr_by_phase.md")):
        _run(how)
    return how.work / "default_run" / "results"


def _run(how: How) -> tuple[float, dict[str, tuple[int, float]], float]:
    """Run it anew. Returns seconds in all, number and seconds of jobs by rule, and seconds of iterations."""
    folder = how.work / "default_run"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    files = [ROOT / "config.yaml", *([ROOT / "studies" / "short.yaml"] if how.quick else [])]
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--resources", "gpu=1", "--quiet", "all"]
    command += ["--snakefile", ROOT / "Snakefile", "--directory", folder, "--configfile", *files]
    environment = {**os.environ, "SNAKEMAKE_PROFILE": str(ROOT / "profiles" / "default")}
    begun = time.perf_counter()
    subprocess.run([*map(str, command), "--config", "results=results"], check=True, env=environment)
    seconds = time.perf_counter() - begun
    records = [json.loads(file.read_text()) for file in folder.glob("results/*/seed*/phase*/training.json")]
    return seconds, _by_rule(folder), sum(record["seconds_iterations"] for record in records)


def _by_rule(folder: Path) -> dict[str, tuple[int, float]]:
    """Number and seconds of jobs, from what Snakemake notes of each output."""
    jobs: dict[tuple[str, str], list[float]] = defaultdict(list)
    for file in (folder / ".snakemake" / "metadata").rglob("*"):
        if file.is_file():
            noted = json.loads(file.read_text())
            jobs[noted["rule"], noted["log"][0]] += [noted["starttime"], noted["endtime"]]
    rules: dict[str, list[float]] = defaultdict(list)
    for (rule, _), times in sorted(jobs.items()):
        rules[rule].append(max(times) - min(times))
    return {rule: (len(seconds), sum(seconds)) for rule, seconds in rules.items()}


def measure(how: How) -> Table:
    """The median run by its time outside training."""
    runs = sorted((_run(how) for _ in range(1 if how.quick else 3)), key=lambda run: run[0] - run[2])
    seconds, rules, iterations = runs[len(runs) // 2]
    inside = {rule: spent for rule, (_, spent) in rules.items() if rule.startswith("phase") and rule.endswith("_1")}
    rows = [{"what": "in all", "jobs": sum(count for count, _ in rules.values()), "seconds": f"{seconds:.1f}"}]
    rows += [{"what": "iterations", "jobs": len(inside), "seconds": f"{iterations:.1f}"}]
    rows += [
        {"what": "outside iterations", "jobs": "", "seconds": f"{seconds - iterations:.1f}"},
        {"what": "share outside", "jobs": "", "seconds": f"{1 - iterations / seconds:.0%}"},
    ]
    rows += [
        {
            "what": f"- {'training, but for iterations' if rule == 'train' else rule}",
            "jobs": count,
            "seconds": f"{spent:.1f}",
        }
        for rule, (count, spent) in _parts(rules, inside, iterations).items()
    ]
    rest = seconds - sum(spent for _, spent in rules.values())
    rows.append({"what": "- Snakemake itself", "jobs": "", "seconds": f"{rest:.1f}"})
    outside = ", ".join(f"{run[0] - run[2]:.1f}" for run in runs)
    about = (
        "`snakemake --cores 1 --resources gpu=1` on config.yaml, one CPU thread, from nothing to the report's files."
    )
    return Table(
        "default_run", about, rows, [f"Outside iterations in {len(runs)} runs: {outside} s; the median is shown."]
    )


def _parts(
    rules: dict[str, tuple[int, float]], inside: dict[str, float], iterations: float
) -> dict[str, tuple[int, float]]:
    """Jobs outside iterations: training's remainder, generation, and the other rules by name."""
    parts: dict[str, tuple[int, float]] = defaultdict(lambda: (0, 0.0))
    for rule, (count, spent) in rules.items():
        name = "train" if rule in inside else "making LR_k" if rule.startswith("phase") else rule
        parts[name] = (parts[name][0] + count, parts[name][1] + spent)
    count, spent = parts["train"]
    return {**parts, "train": (count, spent - iterations)}
