"""Every table of the paper: the models it needs are trained, evaluated, and set beside the published numbers.

| file | says |
|---|---|
| `tables` | the paper's tables as data: rows, columns, published numbers, and the claims they carry |
| `scale`, `paper`, `tiny` | what a name stands for: the paper's recipe, or a small run on drawn clips |
| `plan` | which trainings, token caches and evaluations a table needs, each once, and in which order |
| `work` | does one of them, or all; what is done already stays |
| `outcome` | gathers the numbers: results.json, table.md, plot.png |
| `cluster` | SLURM scripts in place of the work |
"""
