"""Which backend takes a call: slots, the pick, and the calls that wait."""
