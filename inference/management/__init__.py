"""Commands of `manage.py` about making images."""
