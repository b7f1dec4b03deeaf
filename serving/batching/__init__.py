"""Rows of many requests, put together into batches: order, price, size, failure."""
