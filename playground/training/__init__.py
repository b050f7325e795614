"""Trains the playground's models on its painted world: autoencoder, evaluator, base, adapters."""
