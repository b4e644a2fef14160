"""One module per command; each is a thin shell over functions elsewhere."""
