"""Local models as supervised child processes: a model that crashes never takes the gateway down."""
