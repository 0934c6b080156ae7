"""Why a reply was as it was: what is kept of recent requests, and how it is told."""
