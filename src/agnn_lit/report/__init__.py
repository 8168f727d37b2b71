"""The report: run folders and score folders in, one self-contained page out.

``collect`` reads folders, ``groups`` decides which results may stand side by side, ``tables``,
``comparison``, ``figures`` and ``pictures`` make the parts, ``render`` writes the page.
"""
