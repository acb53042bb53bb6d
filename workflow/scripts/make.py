import sys

try:
    from multiblock.workflow.job import make
except KeyboardInterrupt:  # the workflow says it
    sys.exit(130)

make(snakemake)
