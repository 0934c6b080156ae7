"""Finding engines: by DNS, by a file, by Kubernetes; and running whatever finds them."""
