# A door to workflow/Snakefile, where Snakemake's catalog and modules look for it.
include: "workflow/Snakefile"


workflow.default_target = "all"  # an included file does not name it
