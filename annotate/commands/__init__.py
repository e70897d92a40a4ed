"""What python -m annotate can be asked, and what it does then: one file a theme, put together in ../__main__.py."""
