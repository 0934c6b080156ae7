"""What two local engines share: used in engine processes only."""
