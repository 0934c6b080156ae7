"""Who is calling: keys, and the synchronous check of them."""
