"""Commands of `manage.py` about who and how much."""
