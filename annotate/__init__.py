"""The rating study: people label clips, and no label is ever lost. Needs no torch. Read schema.py first."""
