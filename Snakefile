from snakemake.utils import min_version

min_version("9.14")


include: "workflow/rules/config.smk"
include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/upscale.smk"


report: "workflow/report/workflow.rst"


rule all:
    default_target: True
    input:
        started.marks(started.results.all()),


onstart:
    started.begin()


onsuccess:
    started.end(logger, log, succeeded=True)


onerror:
    started.end(logger, log, succeeded=False)
