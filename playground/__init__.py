"""A small world to try everything in without a network."""
