"""``hoso``: the operator's and developer's command, for the twin and for a real account."""
