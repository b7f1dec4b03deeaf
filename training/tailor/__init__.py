"""`isogloss tailor`: from labelled texts to proven routes, in one job that resumes.

`situation` looks at what there is, `ways` says what is worth trying on it, `plan` makes steps of
that, `cost` foretells their seconds, `steps` runs them, and `job` puts it together and publishes.
"""
