"""What whole engine families share: errors, load metrics, probes."""
