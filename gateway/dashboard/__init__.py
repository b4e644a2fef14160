"""Pages for people: one more face that calls the same functions as the dialects."""
