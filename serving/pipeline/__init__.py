"""The way of a text: detect, route, tokenize, batch, score, answer."""
