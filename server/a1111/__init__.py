"""A1111's API under /sdapi, as far as its clients use it."""
