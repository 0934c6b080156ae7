"""The listeners: public and admin, TLS, and an orderly end."""
