from pathlib import Path

import pandas as pd

from multiblock.files import write_text
from multiblock.report import figures
from multiblock.report.losses import losses
from multiblock.workflow.jobs import job

with job(snakemake) as needed:
    if needed:
        phases = snakemake.params.phases
        table = losses({run: [list(map(Path, seed)) for seed in seeds] for run, seeds in phases.items()})
        write_text(Path(snakemake.output.csv), table.to_csv(index=False))
        reference = pd.read_csv(snakemake.params.reference) if snakemake.params.reference else None
        out = Path(snakemake.output.figures)
        out.mkdir(parents=True)
        for name, runs in snakemake.params.groups.items():
            figures.losses(table, runs, reference, out / f"{name}.png")
