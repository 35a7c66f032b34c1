"""The main job as a story: a company, three reps without a network, a server that dies, QuickBooks.

``replica demo`` runs it on the embedded default with real processes and shows that nothing was
lost, nothing doubled, and everybody ends with the same data.
"""
