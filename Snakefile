from snakemake.utils import min_version

min_version("9.14")


# Given with --configfile, a study stands alone: what it leaves out is the schema's default, not config.yaml's.
if not workflow.overwrite_configfiles:

    configfile: "config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"


report: "workflow/report/workflow.rst"


rule all:
    default_target: True
    input:
        [layout.promised(run) for run in study.runs],
        layout.study_reports(),
