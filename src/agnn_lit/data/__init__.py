"""Videos, clips and input tensors; indexing, sampling, data set and transforms are independent modules."""
