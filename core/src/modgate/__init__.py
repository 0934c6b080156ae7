"""One AI gateway for seven modalities; plugin authors start at `modgate.plugin`."""
