"""What runs in the decoding process: files nobody vouches for, behind limits. Started and asked by media.py."""
