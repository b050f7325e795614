"""Our own API: search, compose, generate, and what is known of adapters and jobs."""
