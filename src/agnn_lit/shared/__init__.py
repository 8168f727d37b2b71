"""What several rooms need: run folders, files, processes, pictures."""
