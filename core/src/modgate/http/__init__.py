"""The client's side of the wire: connections, bodies in, replies out, surfaces."""
