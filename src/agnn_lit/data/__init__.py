"""Videos, clips and input tensors: index, sampling, data set and transforms apart."""
