"""A client of the server, for programs: `isogloss.Client` and `isogloss.AsyncClient`.

`client` and `async_client` send; everything else here is pure, and the same for both.
"""
