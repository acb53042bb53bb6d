from pathlib import Path

from multiblock.report.budget import budget, write
from multiblock.workflow.jobs import job

with job(snakemake) as needed:
    if needed:
        params = snakemake.params
        budgets = {
            run: budget(list(map(Path, params.measured[run])), params.blocks[run], params.limit)
            for run in params.blocks
        }
        write(budgets, Path(snakemake.output.csv), Path(snakemake.output.markdown))
