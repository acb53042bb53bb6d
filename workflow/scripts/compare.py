from pathlib import Path

from multiblock.files import write_text
from multiblock.report.comparison import as_markdown, comparison
from multiblock.report.tables import read, write
from multiblock.workflow.jobs import job

with job(snakemake) as needed:
    if needed:
        output = snakemake.output
        files = zip(map(Path, snakemake.input.tables), map(Path, snakemake.input.times), strict=True)
        tables = {run: read(*both) for run, both in zip(snakemake.params.runs, files, strict=True)}
        measured = {run: list(map(Path, files)) for run, files in snakemake.params.measured.items()}
        table = comparison(tables, measured, snakemake.params.baseline)
        write(table, ["run"], Path(output.csv), Path(output.times))
        write_text(Path(output.markdown), as_markdown(table))
