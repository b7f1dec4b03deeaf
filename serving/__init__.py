"""Serving: detect the language, route to a prompt, batch, answer.

The hot path is `classifier.py`. `app.py` is the only file that knows Ray.
"""
