from multiblock.workflow.job import make

make(snakemake)
