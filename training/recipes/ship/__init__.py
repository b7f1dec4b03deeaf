"""The prompts and routes that come with the pocket models, from nothing to `prompts/shipped`.

`python -m isogloss.training.recipes.ship` runs what a user would type, one `isogloss` command after
the other: candidates in four ways (`settings`), dev evidence, routes, test results, temperatures
(`plan`). Finished steps are kept (`steps`); at the end the stores become one, and small tables tell
what was tried and what came out (`results`).
"""
