"""Every way into Atelier: settings, HTTP dialects, pages, health, commands that need the whole product.

Start reading at `urls.py`. This package may import inference, billing and accounts; nothing imports it.
Only it speaks HTTP to users, and it never imports an engine.
"""
