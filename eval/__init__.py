"""Evaluation: figures that say how sure they are, of pictures that anybody painted.

records.py     samples, cells, figures, differences       estimates.py   a value, and how much each prompt pulls at it
manifest.py    a line of JSON for each picture            datasets.py    sets of prompts
grid.py        methods x guidance x samples               former.py      what an earlier experiment left
evaluation.py  the cells of a manifest, measured          scores.py      figures, and differences pair by pair
extract/       pictures to features; one decode for all   cache.py       features and scores that are kept
references.py  the pictures that others are compared with metrics.py     the metrics by name
moments.py, frechet.py, mmd.py, inception_score.py        distances between sets of pictures
alignment.py, yes_probability.py                          how well a picture fits its prompt
diversity.py, ms_ssim.py, perceptual.py, vendi.py         how much the pictures of a prompt differ
stats.py, slices.py, pareto.py, tables.py, plots.py       what follows from figures
judge/         a model that compares pictures             survey/        people who do
report/        all of it on one page                      anchors/       what papers measured
probe.py       what an adapter really does
"""
