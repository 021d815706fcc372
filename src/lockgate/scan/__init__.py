"""The scanner: is this hub fit to go live? One check per file in `checks/`, each with its severity and its fix.

A check is a function over a `Subject`, the facts about one hub. Who builds the subject decides what is scanned: for
one's own hub `lockgate.fitness` reads the home; a broker of somebody else would give the same facts as far as they can
be had from outside, and a check whose facts are missing says that it could not be made.
"""
