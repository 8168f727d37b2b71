"""One file a data set: how its folders become videos."""
