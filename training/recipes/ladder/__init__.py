"""When does tailoring pay? Routes over the best single prompt, on a ladder of base models.

`python -m isogloss.training.recipes.ladder --runs DIR... --out training/results/ladder` reads what
`isogloss tailor` left for each rung (`rungs`), lets test read the candidates it has not
(`unread`), chooses routes on dev among the candidates of each way (`ways`), and measures them on
test (`gains`, `effects`, `paper_likeness`). Tables, figures and the page's parts follow (`tables`,
`figures`, `page`). `rule` decides on dev which rung ships.
"""
