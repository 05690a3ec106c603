"""Did a new policy get worse anywhere? Two policies on the same episodes, judged as they come in, with an honest "inconclusive".

design      what is tested: metrics, margins, strata, families, and how the permitted error is shared among them
plan        a suite of scenarios as a design: which episodes are driven in which order
betting     e-processes: evidence that may be looked at after every round
fixed       the classical tests at the end of a fixed number of episodes
multiple    many tests at once: Holm, Benjamini-Hochberg
verdict     rounds of paired results in, pass, regression or neither out
power       what a plan can find, before anything is driven
journal     every result on disk as soon as it is there, in a file that survives being killed
drive       driving the episodes and handing them on in a fixed order
changes     where two configurations differ
baseline    results of a policy kept in a small file
run         one gate from beginning to end
findings    figures and what the tests say of them
report      everything that was found, as data with a schema
pages       the same as Markdown, and as JUnit XML for build servers

recipes     training runs by which a recipe is known
permutation tests of recipes, in which a run is one observation
run_recipes one gate between recipes from beginning to end

replays     pairs in which the candidate did worse, driven again for their traces
failures    what went wrong, and under which circumstances
ddmin       delta debugging
shrink      the search that makes one failure small
trials      simulations for several such searches at once
explain     classes, clusters and small scenarios, and the page
coverage    which part of what scenarios can draw was driven
charts      intervals and evidence as SVG
gallery     replays for the page, cut until they fit
html        the page: one file, with players
"""

from __future__ import annotations

__all__: list[str] = []
