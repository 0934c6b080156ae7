"""What a configuration becomes before requests see it: read, linked, tried, and made into parts."""
