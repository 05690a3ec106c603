"""Searching a scenario for failures of a policy, and saying how probable they are.

space       the numbers an episode is drawn from, as coordinates with a standard normal density
trials      drive points of the space, judge them by a margin, ask references whether a failure could have been avoided
proposal    Gaussian proposals, their weights, and how one is fitted
search      cross-entropy, a walk among failures, CMA-ES
moves       moves of points, for the walk and for splitting
importance  probability of failure by importance sampling
splitting   the same by adaptive multilevel splitting
cases       the worst failures as scenario files and a suite
report      what was found: JSON, Markdown, a picture
run         all of it in order
"""
