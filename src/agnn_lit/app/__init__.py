"""The page in the browser: upload a film, look at its masks, download them."""
