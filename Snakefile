# A door to workflow/Snakefile, where Snakemake's catalog and `module` look for it.
include: "workflow/Snakefile"
