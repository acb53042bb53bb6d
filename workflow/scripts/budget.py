from pathlib import Path

from multiblock.budget import budget, write
from multiblock.jobs import job

with job(snakemake):
    measured = zip(snakemake.params.blocks.items(), map(Path, snakemake.input), strict=True)
    budgets = {run: budget(file, blocks, snakemake.params.limit) for (run, blocks), file in measured}
    write(budgets, Path(snakemake.output.csv), Path(snakemake.output.markdown))
