"""HTTP: routes, admin, bodies in within bounds, errors out in the contract's shape."""
