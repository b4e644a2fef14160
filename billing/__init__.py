"""Credits and money: the ledger, the price book, usage rows.

Start reading at `ledger.py`. This package may import accounts. It knows jobs only as a reference text.
"""
