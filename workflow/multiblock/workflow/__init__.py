"""What the rules and scripts of the Snakemake workflow share."""
