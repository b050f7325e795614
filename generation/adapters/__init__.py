"""Adapters on weights: files of every kind read, matched with a model by name and shape, laid exactly, taken off.

`file` reads, `kinds` knows what each kind of adapter does to a weight, `names` and its neighbours say which module a
key means, `plan` matches a file with a model, `coverage` tells how much of it fits, `patch` lays sets on the weights,
and `side` lets every image of a batch wear another set.
"""
