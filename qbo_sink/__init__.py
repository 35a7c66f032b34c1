"""The QuickBooks Online sink: committed work becomes estimates, exactly once.

Pure: ``model``, ``estimate``, ``party``, ``marker``, ``requestid``, ``wire``, ``catalogue``,
``faults``, ``plan``, ``doubt``, ``compare``, ``schedule``. Edges: ``client``, ``pace``, ``tokens``,
``vault``, ``ledger``, ``feed``, ``push``, ``runner``, ``port``, ``web``, ``cli``.
"""
