"""What two plugins want: built on `modgate.plugin`, never the other way round."""
