"""The QuickBooks Online sink: committed work becomes estimates, exactly once.

Pure: ``model``, ``estimate``, ``party``, ``marker``, ``requestid``, ``wire``, ``catalogue``,
``faults``, ``plan``, ``doubt``, ``compare``, ``corrections``, ``answers``, ``schedule``,
``webhooks``. Edges: ``client``, ``pace``, ``tokens``, ``vault``, ``connections``, ``ledger``,
``feed``, ``session``, ``bodies``, ``look``, ``push``, ``pull``, ``reconcile``, ``remedies``,
``runner``, ``port``, ``web``, ``cli``.
"""
