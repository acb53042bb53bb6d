from pathlib import Path

from multiblock.jobs import job
from multiblock.tables import comparison, comparison_as_markdown, read

with job(snakemake):
    tables = dict(zip(snakemake.params.runs, map(read, map(Path, snakemake.input)), strict=True))
    table = comparison(tables, snakemake.params.baseline)
    table.to_csv(snakemake.output.csv, index=False)
    Path(snakemake.output.markdown).write_text(comparison_as_markdown(table))
