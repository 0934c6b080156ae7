"""The nouns that plugins and core share; import them from `modgate.plugin`."""
