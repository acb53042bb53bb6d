from pathlib import Path

from multiblock.config import load
from multiblock.plan import Task
from multiblock.training.progress import process_start
from multiblock.training.record import check_phases
from multiblock.training.trainer import Settings
from multiblock.workflow.check import check_once
from multiblock.workflow.jobs import job, weights_by_phase
from multiblock.workflow.ranks import train

with job(snakemake) as needed:
    if needed:
        study, wildcards = load(snakemake.config), snakemake.wildcards
        # All phases of all runs, before the first is trained.
        check_once(study)
        if snakemake.config["training"]["below_input"] == "stop":
            check_phases(map(Path, snakemake.input.weights))
        train(
            snakemake,
            asked=study.runs[wildcards.run].plan.phase(int(wildcards.phase)).gpus,
            task=Task.from_dict(snakemake.params.task),
            settings=Settings(**snakemake.params.settings),
            inputs=Path(snakemake.input.images[0]).parent,
            targets=Path(snakemake.input.hr[0]).parent,
            weights=weights_by_phase(snakemake.input.weights),
            out=Path(snakemake.output.weights).parent,
            lr=Path(snakemake.input.lr[0]).parent,
            checkpoint_seconds=snakemake.config["training"]["checkpoint_seconds"],
            memory_gib=snakemake.config["inference"]["memory_gib"],
            # From the config, not as a parameter: what the file says of itself is no reason to train again.
            about=study.runs[wildcards.run].provenance(int(wildcards.phase), int(wildcards.seed)),
            begun=process_start(),
        )
