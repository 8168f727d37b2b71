"""One file per data set: how its folders become videos."""
