"""The report: one self-contained page about run folders and score folders.

``collect`` reads folders, ``groups`` decides which results are comparable, ``tables``, ``comparison``, ``figures`` and
``pictures`` make the parts, and ``render`` writes the page.
"""
