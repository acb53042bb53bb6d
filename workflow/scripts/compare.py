from pathlib import Path

import pandas as pd

from multiblock.jobs import job
from multiblock.tables import comparison, comparison_as_markdown

with job(snakemake):
    table = comparison(dict(zip(snakemake.params.runs, map(pd.read_csv, snakemake.input), strict=True)))
    table.to_csv(snakemake.output.csv, index=False)
    Path(snakemake.output.markdown).write_text(comparison_as_markdown(table))
