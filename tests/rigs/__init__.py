"""What several test files of one package are built on."""
