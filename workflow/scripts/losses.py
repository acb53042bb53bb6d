from pathlib import Path

import pandas as pd

from multiblock.files import write_text
from multiblock.report import figures
from multiblock.report.curves import losses
from multiblock.report.phases import TrainingFiles
from multiblock.workflow.jobs import job

with job(snakemake) as needed:
    if needed:
        params = snakemake.params
        phases = {
            run: {
                (seed, phase): TrainingFiles(
                    history=Path(folder, "history.csv"), training=Path(folder, "training.json")
                )
                for seed, folders in zip(params.seeds, seeds, strict=True)
                for phase, folder in enumerate(folders, 1)
            }
            for run, seeds in params.phases.items()
        }
        table = losses(phases)
        write_text(Path(snakemake.output.csv), table.to_csv(index=False))
        reference = pd.read_csv(params.reference) if params.reference else None
        out = Path(snakemake.output.figures)
        out.mkdir(parents=True)
        for name, runs in params.groups.items():
            figures.losses(table, runs, reference, out / f"{name}.png")
