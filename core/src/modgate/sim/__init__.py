"""What another fleet, or another promise, would have made of requests that came: a simulation.

Requests are those of receipts, engines are models of engines that receipts show, time is virtual,
and everything in between is what the gateway runs: its goals, its fleet, its pick and its queue.
"""
